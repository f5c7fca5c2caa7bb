# CPU:   docker build --tag cortexia .
# CUDA:  docker build --tag cortexia:cuda --build-arg EXTRAS=torch,video --build-arg PIP_EXTRA_INDEX_URL= .
# Use:   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" cortexia estimate photos --output depth
#        (with --gpus all for CUDA; with --volume "$HOME/.cache/huggingface:/cache" weights are downloaded once)
FROM python:3.12-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel /source

FROM python:3.12-slim
# Any extras of pyproject.toml, with commas between. On PyPI torch is built for CUDA; the index adds the one for CPU.
ARG EXTRAS=video
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN --mount=type=bind,from=build,source=/wheel,target=/wheel \
    pip install --no-cache-dir "$(echo /wheel/*.whl)[${EXTRAS}]" && mkdir --mode=777 /cache
ENV HF_HOME=/cache
USER 65534
WORKDIR /data
ENTRYPOINT ["cortexia"]
