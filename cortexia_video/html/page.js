"use strict";
// What a page does beside being read: values under the pointer, images enlarged, a search. Nothing is missing without it.
{
  const all = (words, within = document) => [...within.querySelectorAll(words)];
  const one = (words, within = document) => within.querySelector(words);
  const make = (tag, name) => Object.assign(document.createElement(tag), { className: name });

  // ---- values: see `Values` of views.py
  const codes = new WeakMap();
  function valueAt(image, x, y) {
    const { columns, low, high } = image.dataset;
    if (!codes.has(image)) codes.set(image, Uint8Array.from(atob(image.dataset.codes), (each) => each.charCodeAt(0)));
    const bytes = codes.get(image);
    const place = 2 * (Math.floor((y * bytes.length) / 2 / columns) * columns + Math.floor(x * columns));
    const step = (bytes[place] + 256 * bytes[place + 1] - 1) / 65534;
    if (step < 0) return NaN;
    return low > 0 ? low * (high / low) ** step : +low + (high - low) * step;
  }
  function say(value, unit) {
    if (Number.isNaN(value)) return "unknown";
    const size = Math.abs(value);
    const digits = size >= 999.5 && size < 1e9 ? Math.round(size).toLocaleString("en") : size.toPrecision(3);
    return `${value < 0 ? "−" : ""}${digits} ${unit}`.trimEnd();
  }
  const reading = make("output", "reading");
  const mark = make("span", "mark");
  const point = { x: 0.5, y: 0.5 };
  function show(holder, x, y) {
    const images = all(".layer img", holder === stage ? current : holder).filter((each) => each.dataset.codes);
    if (!(x >= 0 && x < 1 && y >= 0 && y < 1 && images.length)) return reading.remove();
    reading.textContent = images.map((each) => `${each.alt} ${say(valueAt(each, x, y), each.dataset.unit)}`).join(" · ");
    if (reading.parentNode !== holder) holder.append(reading);
    if (holder === stage) stage.append(mark);
    Object.assign(point, { x, y });
    Object.assign(mark.style, { left: `${100 * x}%`, top: `${100 * y}%` });
  }
  const find = (event, words) => event.target.closest?.(words); // a document has none
  const read = (event) => {
    const image = find(event, ".layer img, .stage img");
    if (!image) return reading.remove();
    const box = image.getBoundingClientRect();
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    const x = 0.5 + (event.clientX - box.left - box.width / 2) / scale / image.naturalWidth;
    const y = 0.5 + (event.clientY - box.top - box.height / 2) / scale / image.naturalHeight;
    show(image.closest(".row, .stage"), x, y);
  };
  document.addEventListener("pointermove", read);
  document.addEventListener("pointerdown", read);

  // ---- a view, enlarged
  const viewer = one("dialog");
  const stage = one(".stage", viewer);
  const [left, right] = all("select", viewer);
  const slider = one("input", viewer);
  let current = null;
  function draw() {
    const images = all(".layer img", current);
    const [under, over] = [left, right].map((each) => images[each.value]);
    stage.style.setProperty("--shape", under.naturalWidth / under.naturalHeight);
    stage.replaceChildren(under.cloneNode(), over.cloneNode());
    for (const image of stage.children) ["tabindex", "role", "aria-label"].forEach((each) => image.removeAttribute(each));
    slide();
  }
  function slide() {
    stage.style.setProperty("--cut", `${slider.value}%`);
  }
  function open(view) {
    const names = all(".layer img", view).map((each) => each.alt);
    [left, right].forEach((select, side) => {
      const before = names.indexOf(select.selectedOptions[0]?.text);
      select.replaceChildren(...names.map((name, number) => new Option(name, number)));
      select.value = before >= 0 ? before : side * (names.length - 1);
    });
    slider.parentNode.hidden = names.length < 2;
    current = view;
    one(".said", viewer).replaceChildren(...one("figcaption", view).cloneNode(true).childNodes);
    draw();
    if (!viewer.open) viewer.showModal();
  }
  function step(by) {
    const views = all(".view").filter((each) => each.offsetParent && one(".layer img", each));
    open(views[(views.indexOf(current) + by + views.length) % views.length]);
  }
  for (const view of all(".view")) {
    const last = all(".layer img", view).at(-1);
    if (last) Object.assign(last, { tabIndex: 0, role: "button", ariaLabel: `${last.alt}: enlarge` });
  }
  document.addEventListener("click", (event) => {
    const image = find(event, ".layer img");
    if (image) open(image.closest(".view"));
    if (event.target === viewer) viewer.close();
  });
  document.addEventListener("keydown", (event) => {
    if (!["Enter", " "].includes(event.key) || !event.target.matches(".layer img")) return;
    event.preventDefault();
    open(event.target.closest(".view"));
  });
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  viewer.addEventListener("keydown", (event) => {
    const way = ways[event.key];
    if (!way || event.target.matches("input, select")) return;
    event.preventDefault();
    if (event.target !== stage) return way[0] && step(way[0]);
    const move = (from, by) => Math.min(0.995, Math.max(0.005, from + by / 100));
    show(stage, move(point.x, way[0]), move(point.y, way[1]));
  });
  viewer.addEventListener("close", () => one("[tabindex]", current)?.focus());
  one(".previous", viewer).addEventListener("click", () => step(-1));
  one(".next", viewer).addEventListener("click", () => step(1));
  one(".close", viewer).addEventListener("click", () => viewer.close());
  slider.addEventListener("input", slide);
  for (const select of [left, right]) select.addEventListener("change", draw);

  // ---- search
  const bar = one(".find");
  function search() {
    const words = one("input", bar).value.toLowerCase().split(/\s+/).filter(Boolean);
    const tag = one("select", bar).value;
    const active = Boolean(words.length || tag);
    const items = all(".view, .keys > li");
    for (const item of items) {
      const heading = item.closest(".group")?.firstElementChild.textContent ?? "";
      const text = `${heading} ${item.textContent}`.toLowerCase();
      const tags = item.closest("[data-tags]")?.dataset.tags.split(" ") ?? [];
      item.hidden = !(words.every((word) => text.includes(word)) && (!tag || tags.includes(tag)));
    }
    const kept = ":is(.view, .keys > li):not([hidden])";
    for (const holder of all(":is(.group, section):has(.view, .keys > li)")) holder.hidden = active && !one(kept, holder);
    for (const fold of all("section details")) fold.open = active;
    const shown = items.filter((each) => !each.hidden).length;
    one("output", bar).textContent = active ? `${shown} of ${items.length} on this page` : "";
  }
  bar?.addEventListener("input", search);
  for (const each of all(".scripted")) each.hidden = false;
}
