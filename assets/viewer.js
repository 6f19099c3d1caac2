// Panels of scans and heatmaps that zoom, move and read values together. What each panel holds comes from rcdnet/present/heatmap_grid.py.
// Places are shares of a scan's width and height, 0 to 1, so that scans of different sizes move together.

const FARTHEST = 16;
const views = new WeakMap(); // the element of a viewer -> what the reader has done with it; it outlives new data

export default function ({ data, parentElement, setTriggerValue }) {
  const view = views.get(parentElement) ?? { zoom: 1, x: 0.5, y: 0.5, at: null, drawing: false };
  views.set(parentElement, view);
  view.boxes = data.scans.map((scan) => scan.box); // the server keeps them, through other pages and other scans
  view.stop?.();
  const root = parentElement.querySelector(".viewer");
  root.replaceChildren();
  const pictures = data.scans.map(loaded);
  const panels = [];

  const bar = added(root, "div", "bar");
  button(bar, "−", "Zoom out", () => zoom(1 / 1.25));
  const size = added(bar, "output", "size");
  button(bar, "+", "Zoom in", () => zoom(1.25));
  button(bar, "Fit", "Show the whole scan", fit);
  const draw = button(bar, "Draw a box", "Draw a box around the lesion on any panel", () => {
    view.drawing = !view.drawing;
    refresh();
  });
  button(bar, "Clear the box", "Forget the box", forgetBoxes);
  added(bar, "span", "hint").textContent = "Wheel zooms, dragging moves, a double click fits; arrows, + and − do the same.";

  const body = added(root, "div", "body");
  const top = added(body, "div", "top");
  data.scans.forEach((scan, number) => {
    const figure = added(top, "figure", "whole");
    added(figure, "figcaption").textContent = scan.name;
    panels.push(panel(figure, { scan: number, label: scan.name }));
  });
  const legend = added(top, "div", "legend-block");
  if (data.panels.length) {
    const ramp = added(legend, "div", "ramp");
    const stops = data.colours.filter((_, k) => k % 15 === 0).map((c) => `rgb(${c.join(",")})`);
    ramp.style.background = `linear-gradient(90deg, ${stops.join(",")})`;
    const ends = added(legend, "div", "ends");
    for (const word of data.ends) added(ends, "span").textContent = word;
  }
  for (const sentence of data.sentences) added(legend, "p").textContent = sentence;

  const grid = added(body, "div", "grid");
  grid.style.gridTemplateColumns = `repeat(${data.columns.length}, minmax(7rem, 1fr))`;
  for (const column of data.columns) heading(grid, column, "column");
  data.rows.forEach((row, r) => {
    heading(grid, row, "row");
    data.columns.forEach((_, c) => {
      const cell = added(grid, "div", "cell");
      const content = data.panels.find((p) => p.row === r && p.column === c);
      if (content) {
        panels.push(panel(cell, content));
        added(cell, "div", "note").textContent = content.note;
      }
    });
  });

  const watched = new ResizeObserver(refresh);
  for (const p of panels) watched.observe(p.canvas);
  Promise.all(pictures.map((picture) => picture.decode().catch(() => null))).then(refresh);
  refresh();
  view.stop = () => watched.disconnect();
  return () => view.stop();

  function panel(parent, content) {
    const canvas = added(parent, "canvas");
    const scan = data.scans[content.scan];
    canvas.style.aspectRatio = `${scan.width} / ${scan.height}`;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    const p = { canvas, content, scan, picture: pictures[content.scan], base: document.createElement("canvas") };
    let from = null;
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = { ...placeOf(p, event), x: view.x, y: view.y, clientX: event.clientX, clientY: event.clientY };
    };
    canvas.onpointermove = (event) => {
      view.at = placeOf(p, event);
      if (from && view.drawing) {
        view.boxes[content.scan] = [from.u, from.v, view.at.u, view.at.v];
      } else if (from) {
        view.x = from.x - (event.clientX - from.clientX) / canvas.clientWidth / view.zoom;
        view.y = from.y - (event.clientY - from.clientY) / canvas.clientHeight / view.zoom;
        keepInside();
        return refresh();
      }
      panels.forEach(cover);
    };
    canvas.onpointerup = () => {
      if (from && view.drawing && view.boxes[content.scan]) setBox(content.scan);
      from = null;
    };
    canvas.onpointerleave = () => {
      view.at = null;
      panels.forEach(cover);
    };
    canvas.onwheel = (event) => {
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) return; // sideways the page scrolls
      event.preventDefault();
      const place = placeOf(p, event);
      zoom(event.deltaY < 0 ? 1.25 : 1 / 1.25, place);
    };
    canvas.ondblclick = fit;
    canvas.onkeydown = (event) => {
      const step = 0.1 / view.zoom;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (event.key === "+" || event.key === "=") zoom(1.25);
      else if (event.key === "-") zoom(1 / 1.25);
      else if (event.key === "0") fit();
      else if (moves[event.key]) {
        view.x += moves[event.key][0];
        view.y += moves[event.key][1];
        keepInside();
        refresh();
      } else return;
      event.preventDefault();
    };
    return p;
  }

  function zoom(factor, place = { u: view.x, v: view.y }) {
    const before = view.zoom;
    view.zoom = Math.min(FARTHEST, Math.max(1, before * factor));
    view.x = place.u + ((view.x - place.u) * before) / view.zoom; // what is under the pointer stays there
    view.y = place.v + ((view.y - place.v) * before) / view.zoom;
    keepInside();
    refresh();
  }

  function fit() {
    Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
    refresh();
  }

  function keepInside() {
    const half = 0.5 / view.zoom;
    view.x = Math.min(1 - half, Math.max(half, view.x));
    view.y = Math.min(1 - half, Math.max(half, view.y));
  }

  function setBox(scan) {
    view.drawing = false;
    const [left, top, right, bottom] = view.boxes[scan];
    const wide = Math.abs(right - left) > 0.01 && Math.abs(bottom - top) > 0.01;
    if (!wide) view.boxes[scan] = null;
    setTriggerValue("box", { scan, places: view.boxes[scan] });
    refresh();
  }

  function forgetBoxes() {
    view.drawing = false;
    view.boxes.fill(null);
    setTriggerValue("box", { scan: null, places: null });
    refresh();
  }

  function refresh() {
    size.textContent = `${Math.round(view.zoom * 100)} %`;
    draw.classList.toggle("pressed", view.drawing);
    draw.setAttribute("aria-pressed", view.drawing);
    panels.forEach(paint);
    panels.forEach(cover);
  }

  // The scan and its map, drawn once for each zoom; what follows the pointer goes on top of a copy.
  function paint(p) {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(p.canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(p.canvas.clientHeight * ratio));
    for (const c of [p.canvas, p.base]) Object.assign(c, { width, height });
    const context = p.base.getContext("2d");
    const place = { u: view.x - 0.5 / view.zoom, v: view.y - 0.5 / view.zoom };
    const [sw, sh] = [p.picture.naturalWidth, p.picture.naturalHeight];
    if (p.picture.complete && sw)
      context.drawImage(p.picture, place.u * sw, place.v * sh, sw / view.zoom, sh / view.zoom, 0, 0, width, height);
    if (p.content.values) paintMap(context, p, place, width, height);
    for (const outline of p.scan.outlines) trace(context, outline.map(([u, v]) => spot(p, u, v)), "#ffffff", []);
  }

  function paintMap(context, p, place, width, height) {
    const columns = Array.from({ length: width }, (_, i) => across(p, place.u + (i + 0.5) / width / view.zoom, 0));
    const rows = Array.from({ length: height }, (_, j) => across(p, place.v + (j + 0.5) / height / view.zoom, 1));
    const image = context.getImageData(0, 0, width, height);
    let above = null;
    for (let j = 0; j < height; j++) {
      const line = new Float32Array(width);
      for (let i = 0; i < width; i++) line[i] = Math.min(1, between(p, columns[i], rows[j]) / (p.content.peak || 1));
      for (let i = 0; i < width; i++) {
        const share = line[i];
        const colour = data.colours[Math.round(share * 255)];
        const left = i ? line[i - 1] : share;
        const up = above ? above[i] : share;
        const edge = data.contours.some((l) => (share >= l) !== (left >= l) || (share >= l) !== (up >= l));
        const alpha = edge ? 1 : data.contours.length ? 0 : data.opacity * share;
        for (let k = 0; k < 3; k++) {
          const at = 4 * (j * width + i) + k;
          image.data[at] += alpha * ((edge ? data.colours[Math.round(Math.max(share, left, up) * 255)][k] : colour[k]) - image.data[at]);
        }
      }
      above = line;
    }
    context.putImageData(image, 0, 0);
  }

  function cover(p) {
    const context = p.canvas.getContext("2d");
    context.drawImage(p.base, 0, 0);
    const ratio = window.devicePixelRatio || 1;
    if (view.boxes[p.content.scan]) {
      const [left, top, right, bottom] = view.boxes[p.content.scan];
      const corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
      trace(context, corners.map(([u, v]) => spot(p, u, v)), "#00e5ff", [6, 4]);
    }
    let label = p.content.label;
    if (view.at) {
      const [x, y] = spot(p, view.at.u, view.at.v);
      context.strokeStyle = "#ffffffb0";
      context.lineWidth = ratio;
      context.beginPath();
      context.moveTo(x, 0), context.lineTo(x, p.canvas.height), context.moveTo(0, y), context.lineTo(p.canvas.width, y);
      context.stroke();
      if (p.content.values) {
        const value = between(p, across(p, view.at.u, 0), across(p, view.at.v, 1));
        const text = `${value.toPrecision(3)} = ${Math.round((100 * value) / (p.content.peak || 1))} %`;
        label += `, ${text}`;
        context.font = `${13 * ratio}px sans-serif`;
        context.fillStyle = "#000000c0";
        context.fillRect(0, p.canvas.height - 20 * ratio, context.measureText(text).width + 12 * ratio, 20 * ratio);
        context.fillStyle = "#ffffff";
        context.fillText(text, 6 * ratio, p.canvas.height - 6 * ratio);
      }
    }
    p.canvas.setAttribute("aria-label", label);
  }

  // Where a share of the scan's width (axis 0) or height (axis 1) falls on the map's grid: two neighbours and the way between.
  function across(p, share, axis) {
    const { start, length, cells } = p.content.axes[axis];
    const at = Math.min(cells - 1, Math.max(0, (start + share * length) * cells - 0.5));
    const first = Math.min(Math.floor(at), cells - 1);
    return [first, Math.min(first + 1, cells - 1), at - first];
  }

  function between(p, [left, right, fx], [up, down, fy]) {
    const { values, axes } = p.content;
    const at = (row, column) => values[row * axes[0].cells + column];
    const upper = at(up, left) * (1 - fx) + at(up, right) * fx;
    return upper * (1 - fy) + (at(down, left) * (1 - fx) + at(down, right) * fx) * fy;
  }

  function spot(p, u, v) {
    return [((u - view.x) * view.zoom + 0.5) * p.canvas.width, ((v - view.y) * view.zoom + 0.5) * p.canvas.height];
  }

  function placeOf(p, event) {
    const box = p.canvas.getBoundingClientRect();
    return {
      u: view.x + ((event.clientX - box.left) / box.width - 0.5) / view.zoom,
      v: view.y + ((event.clientY - box.top) / box.height - 0.5) / view.zoom,
    };
  }
}

function trace(context, corners, colour, dash) {
  const ratio = window.devicePixelRatio || 1;
  for (const [style, width] of [["#000000", 4], [colour, 2]]) {
    context.beginPath();
    corners.forEach(([x, y]) => context.lineTo(x, y));
    context.closePath();
    context.setLineDash(style === colour ? dash.map((d) => d * ratio) : []);
    context.strokeStyle = style;
    context.lineWidth = width * ratio;
    context.stroke();
  }
  context.setLineDash([]);
}

function heading(parent, { title, note }, kind) {
  const element = added(parent, "div", `heading ${kind}`);
  added(element, "div", "title").textContent = title;
  for (const line of note) added(element, "div", "plain").textContent = line;
}

function loaded(scan) {
  const picture = new Image();
  picture.src = scan.url;
  return picture;
}

function button(parent, text, label, act) {
  const element = added(parent, "button");
  element.type = "button";
  element.textContent = text;
  element.title = label;
  element.setAttribute("aria-label", label);
  element.onclick = act;
  return element;
}

function added(parent, tag, name = "") {
  const element = document.createElement(tag);
  element.className = name;
  parent.append(element);
  return element;
}
