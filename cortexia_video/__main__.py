"""`python -m cortexia_video` is `cortexia`."""

from cortexia_video.cli import main

main()
