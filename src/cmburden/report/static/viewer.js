"use strict";
// The viewers of a participant's pages: it unpacks the small volumes that `verify` wrote as scripts
// and draws them by slices.js, which stands before it in the same file.
globalThis.cmburdenPage = (() => {
  const SPOT_MM = 60, STEP = 1.3;
  const AMBER = "#ffb000", BLUE = "#64beff", RED = "#ff5c5c";
  const WINDOWS = { brain: [0, 1.8], dark: [0, 1.1], narrow: [0.4, 1.4] };
  const viewers = [];

  /** A gzipped NIfTI-1 in base64: {shape, affine, values, slope}. */
  async function nifti(base64) {
    const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const buffer = await new Response(stream).arrayBuffer(), view = new DataView(buffer);
    const isLittle = view.getInt32(0, true) === 348;
    const shape = [1, 2, 3].map((k) => view.getInt16(40 + 2 * k, isLittle));
    const affine = [0, 1, 2].map((i) => [0, 1, 2, 3].map((j) => view.getFloat32(280 + 16 * i + 4 * j, isLittle)));
    const start = view.getFloat32(108, isLittle), count = shape[0] * shape[1] * shape[2];
    const values = view.getInt16(70, isLittle) === 2
      ? new Uint8Array(buffer, start, count)
      : Uint16Array.from({ length: count }, (_, k) => view.getInt16(start + 2 * k, isLittle));
    return { shape, affine, values, slope: view.getFloat32(112, isLittle) || 1 };
  }

  async function volumeOf(parts) {
    if (typeof DecompressionStream === "undefined") throw new Error("it needs a browser of 2023 or later");
    const names = ["scan", "mask", "regions", "lesions"];
    const [scan, mask, regions, lesions] = await Promise.all(names.map((name) => nifti(parts[name])));
    return Slices.volume({
      shape: scan.shape, affine: scan.affine, unit: scan.slope,
      channels: { magnitude: scan.values, mask: mask.values, regions: regions.values, lesions: lesions.values },
    });
  }

  /** Fill the box of a scan; returns its viewer with `go(lesion)`. */
  async function open(box, parts, regionNames) {
    const lesions = JSON.parse(box.dataset.lesions), label = new Map(lesions.map((one) => [one.id, one.label]));
    const part = (name) => box.querySelector(`[data-do="${name}"]`);
    const isOn = (name) => box.querySelector(`input[data-layer="${name}"]`).checked;
    let place = -1;
    const volume = await volumeOf(parts);
    box.querySelector(".stage").hidden = false;
    const boxes = [...box.querySelectorAll(".pane")].map((figure) => ({
      key: figure.dataset.pane, plane: figure.dataset.pane === "minimum" ? "axial" : figure.dataset.pane,
      projected: figure.dataset.pane === "minimum", canvas: figure.querySelector("canvas"), caption: figure.querySelector("figcaption"),
    }));
    const colours = (id) => `rgb(${(regionNames[id] || { colour: [255, 255, 255] }).colour.join(" ")})`;
    const viewer = new Slices.Viewer(boxes, {
      moved: () => say(),
      outlines: () => [
        isOn("regions") && { labels: "regions", colour: colours, width: 1 },
        isOn("mask") && { labels: "mask", colour: RED, width: 1 },
        isOn("lesions") && { labels: "lesions", colour: (id) => (label.get(id) === "definite" ? AMBER : BLUE) },
      ].filter(Boolean),
    });
    viewer.usual.magnitude = { low: WINDOWS.brain[0], high: WINDOWS.brain[1] };

    function say() {
      const mm = viewer.mm, [i, j, k] = viewer.cursor.map(Math.round), [a, b, c] = volume.strides;
      const near = lesions.find((one) => Math.hypot(one.x - mm[0], one.y - mm[1], one.z - mm[2]) <= one.reach);
      const region = regionNames[volume.channels.regions[i * a + j * b + k * c]];
      const at = mm.map((v) => v.toFixed(1).replace("-", "−")).join(", ");
      const words = [`${at} mm`, region ? region.name : "outside the regions"];
      if (near) words.push(`lesion ${near.id}, ${near.label}`);
      box.querySelector("output.place").value = words.join("; ");
    }

    function go(index) {
      place = index;
      const one = lesions[index];
      viewer.show(volume, volume.voxel([one.x, one.y, one.z]), { field: SPOT_MM });
      viewer.pointed = true;
      say();
    }
    function whole() {
      viewer.show(volume, volume.voxel(JSON.parse(box.dataset.centre)), { centred: false });
      say();
    }
    const step = (by) => lesions.length && go((place + by + lesions.length) % lesions.length);
    const windowed = () => {
      const [low, high] = WINDOWS[part("window").value];
      viewer.contrast.magnitude = { low, high };
      viewer.draw();
    };
    const thick = () => {
      viewer.slab = Number(part("slab").value);
      box.querySelector("output.slab").value = `${viewer.slab} mm`;
      viewer.draw();
    };
    const reset = () => {
      part("window").value = "brain";
      part("tool").value = viewer.tool = "window";
      part("slab").value = 10;
      thick();
      viewer.reset();
      say();
    };
    const acts = { back: () => step(place < 0 ? 0 : -1), on: () => step(1), whole, reset };
    for (const [name, act] of Object.entries(acts)) part(name).addEventListener("click", act);
    for (const name of ["back", "on"]) part(name).disabled = !lesions.length;
    part("window").addEventListener("change", windowed);
    part("slab").addEventListener("input", thick);
    part("tool").addEventListener("change", () => { viewer.tool = part("tool").value; });
    for (const toggle of box.querySelectorAll("input[data-layer]")) {
      toggle.addEventListener("change", () => {
        viewer.cross = isOn("cross");
        box.querySelector(".legend").hidden = !isOn("regions");
        viewer.draw();
      });
    }
    const keys = {
      ArrowUp: () => viewer.scroll(Slices.PLANES.axial, 1), ArrowDown: () => viewer.scroll(Slices.PLANES.axial, -1),
      ArrowLeft: acts.back, ArrowRight: acts.on, "+": () => viewer.zoomBy(STEP), "=": () => viewer.zoomBy(STEP),
      "-": () => viewer.zoomBy(1 / STEP), 0: reset,
    };
    box.querySelector(".panes").addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    box.querySelector(".open").hidden = true;
    whole();
    viewers.push(viewer);
    box.viewer = viewer;
    const at = (mm) => {
      viewer.show(volume, volume.voxel(mm), { field: SPOT_MM });
      viewer.pointed = true;
      say();
    };
    return { viewer, volume, at, say, go: (id) => go(lesions.findIndex((one) => one.id === id)), whole };
  }

  /**
   * Link the viewers of sessions: each shows the place that is as far from its own base as the
   * place under the pointer is from the base of the viewer that the reader uses.
   */
  function link(opened, bases) {
    let leader = opened[0];
    for (const one of opened) {
      for (const { canvas } of one.viewer.panes) {
        for (const name of ["pointerenter", "pointerdown", "focus"]) canvas.addEventListener(name, () => { leader = one; });
      }
      one.viewer.hooks.drawn = () => {
        if (leader !== one) return;
        const from = bases.get(one), moved = one.viewer.mm.map((v, k) => v - from[k]);
        const middle = one.volume.mm(one.viewer.centre).map((v, k) => v - from[k]);
        for (const other of opened) {
          if (other === one) continue;
          const base = bases.get(other), place = (off) => other.volume.voxel(off.map((v, k) => v + base[k]));
          Object.assign(other.viewer, {
            cursor: other.viewer.inside(place(moved)), centre: place(middle), zoom: one.viewer.zoom, field: one.viewer.field,
            slab: one.viewer.slab, pointed: true, contrast: structuredClone(one.viewer.contrast),
          });
          other.viewer.draw();
          other.say();
        }
      };
    }
  }

  return { open, link, volumeOf, viewers };
})();
