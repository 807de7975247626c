"use strict";
// Planes of one volume on canvases: slices, minimum-intensity projections, outlines, a ruler.
// The participants' pages, the pages of changes and the reading room draw with it. Voxel axes are
// those of the canonical grid: they rise to the right, to the front and upwards.
globalThis.Slices = (() => {
  const PLANES = {
    // Columns run along h, rows along v, both falling: the person's right is on the left.
    axial: { name: "Axial", h: 0, v: 1, s: 2, ends: ["R", "L", "A", "P"] },
    coronal: { name: "Coronal", h: 0, v: 2, s: 1, ends: ["R", "L", "S", "I"] },
    sagittal: { name: "Sagittal", h: 1, v: 2, s: 0, ends: ["A", "P", "S", "I"] },
  };
  const LETTERS_PX = 12, CLICK_PX = 4, LEAST_ZOOM = 0.5, MOST_ZOOM = 24;
  //: mm. Reach of a ring about a lesion, free middle of the cross, end of its arms.
  const RING_MM = 5.5, GAP_MM = 3, ARM_MM = 7;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const isAxis = [0, 1, 2];

  /** A grid of voxels with its channels; `unit` turns a stored integer into the value. */
  function volume({ shape, affine: a, channels, unit = 1, units = {}, ...more }) {
    const m = a.slice(0, 3).map((row) => row.slice(0, 3));
    const minor = (i, j) => {
      const [p, q] = isAxis.filter((x) => x !== i), [r, s] = isAxis.filter((x) => x !== j);
      return (m[p][r] * m[q][s] - m[p][s] * m[q][r]) * ((i + j) % 2 ? -1 : 1);
    };
    const det = m[0][0] * minor(0, 0) + m[0][1] * minor(0, 1) + m[0][2] * minor(0, 2);
    return {
      ...more, shape, channels, affine: a, strides: [1, shape[0], shape[0] * shape[1]],
      unitOf: (channel) => units[channel] ?? unit,
      spacing: isAxis.map((j) => Math.hypot(a[0][j], a[1][j], a[2][j])),
      first: more.first || [0, 0, 0], full: more.full || shape,
      voxel: (mm) => isAxis.map((i) => isAxis.reduce((sum, j) => sum + (minor(j, i) / det) * (mm[j] - a[j][3]), 0)),
      mm: (v) => isAxis.map((i) => a[i][0] * v[0] + a[i][1] * v[1] + a[i][2] * v[2] + a[i][3]),
    };
  }

  /**
   * The panes of a volume.
   *
   * `boxes`: [{key, plane, canvas, caption, projected, channel()}]; `hooks`: {moved(), rings(),
   * outlines(), thickened(), steps(plane, n)}, all optional. Lengths are mm, points are voxels of the volume.
   */
  class Viewer {
    constructor(boxes, hooks = {}) {
      Object.assign(this, {
        volume: null, cursor: [0, 0, 0], centre: [0, 0, 0], zoom: 1, field: null, slab: 10, smooth: true,
        rings: true, cross: true, letters: true, pointed: false, tool: "window", ruler: null, contrast: {}, usual: {}, hooks,
      });
      this.tables = {};
      this.waiting = null;
      this.panes = boxes.map((box) => ({ ...box, plane: PLANES[box.plane], picture: document.createElement("canvas") }));
      this.panes.forEach((pane) => this.#listen(pane));
      new ResizeObserver(() => this.draw()).observe(this.panes[0].canvas);
    }

    /** Show `volume` at the voxel `cursor`; `field`: mm of the shorter side, null for all. */
    show(volume, cursor, { field = null, centred = true } = {}) {
      this.volume = volume;
      this.cursor = this.inside(cursor);
      this.home = { cursor: [...this.cursor], field, centred };
      this.ruler = null;
      this.pointed = false;
      this.#home();
    }

    #home() {
      const { field, centred } = this.home;
      this.field = field;
      this.zoom = 1;
      this.centre = centred ? [...this.cursor] : this.volume.shape.map((n) => (n - 1) / 2);
      this.draw();
    }

    /** The view as it was opened, with the usual contrast. */
    reset() {
      if (!this.volume) return;
      this.cursor = [...this.home.cursor];
      this.contrast = structuredClone(this.usual);
      this.ruler = null;
      this.#home();
    }

    get mm() { return this.volume.mm(this.cursor); }
    inside(v) { return v.map((x, k) => clamp(x, 0, this.volume.shape[k] - 1)); }
    holds(v) { return v.every((x, k) => x > -0.5 && x < this.volume.shape[k] - 0.5); }

    /** Point at a voxel; `middle`: it is also moved to the middle of the panes. */
    point(v, { middle = false, quiet = false } = {}) {
      this.cursor = this.inside(v);
      this.pointed = true;
      if (middle) this.centre = [...this.cursor];
      this.draw();
      if (!quiet) this.hooks.moved?.();
    }

    scroll(plane, steps) {
      if (!this.volume) return;
      const v = [...this.cursor];
      v[plane.s] = Math.round(v[plane.s]) + steps;
      this.cursor = this.inside(v);
      this.draw();
      this.hooks.moved?.();
    }

    zoomBy(factor, about = this.cursor) {
      const zoom = clamp(this.zoom * factor, LEAST_ZOOM, MOST_ZOOM), kept = this.zoom / zoom;
      this.centre = this.centre.map((c, k) => about[k] + (c - about[k]) * kept);
      this.zoom = zoom;
      this.draw();
    }

    thicken(mm) {
      this.slab = clamp(Math.round(this.slab + mm), 2, 60);
      this.draw();
      this.hooks.thickened?.();
    }

    // --- geometry ---

    channelOf(pane) {
      const name = pane.channel ? pane.channel() : "magnitude";
      return this.volume.channels[name] ? name : "magnitude";
    }
    sliceOf(plane) { return clamp(Math.round(this.cursor[plane.s]), 0, this.volume.shape[plane.s] - 1); }
    isProjected(pane) { return pane.projected && (typeof pane.projected !== "function" || pane.projected()); }

    /** First and last slice of what a pane shows. */
    slices(pane) {
      const k = this.sliceOf(pane.plane);
      if (!this.isProjected(pane)) return [k, k];
      const half = Math.max(1, Math.round(this.slab / 2 / this.volume.spacing[pane.plane.s]));
      return [Math.max(0, k - half), Math.min(this.volume.shape[pane.plane.s] - 1, k + half)];
    }

    /** Screen pixels a mm. */
    scaleOf(pane) {
      const { h, v } = pane.plane, { shape, spacing } = this.volume;
      const wide = this.field ?? shape[h] * spacing[h], tall = this.field ?? shape[v] * spacing[v];
      return Math.min(pane.canvas.width / wide, pane.canvas.height / tall) * this.zoom;
    }

    toPixel(pane, voxel) {
      return [pane.plane.h, pane.plane.v].map((axis, k) =>
        (k ? pane.canvas.height : pane.canvas.width) / 2 + (this.centre[axis] - voxel[axis]) * this.volume.spacing[axis] * this.scaleOf(pane));
    }

    toVoxel(pane, event) {
      const box = pane.canvas.getBoundingClientRect(), ratio = pane.canvas.width / box.width, scale = this.scaleOf(pane);
      const pixel = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
      const size = [pane.canvas.width, pane.canvas.height], voxel = [...this.cursor];
      [pane.plane.h, pane.plane.v].forEach((axis, k) => {
        voxel[axis] = this.centre[axis] - (pixel[k] - size[k] / 2) / (this.volume.spacing[axis] * scale);
      });
      return voxel;
    }

    // --- painting ---

    contrastOf(channel) { return (this.contrast[channel] ??= { ...(this.usual[channel] ??= { low: 0, high: 1.8 }) }); }

    #table(channel) {
      const { low, high } = this.contrastOf(channel), unit = this.volume.unitOf(channel);
      const most = this.volume.channels[channel].BYTES_PER_ELEMENT > 1 ? 65536 : 256;
      const key = `${low} ${high} ${unit} ${most}`;
      if (this.tables[channel]?.key !== key) {
        const greys = new Uint32Array(most), scale = 255 / Math.max(high - low, 1e-4);
        for (let v = 0; v < most; v += 1) {
          const grey = clamp(Math.round((v * unit - low) * scale), 0, 255);
          greys[v] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
        }
        this.tables[channel] = { key, greys };
      }
      return this.tables[channel].greys;
    }

    #paint(pane) {
      const { shape, strides, channels } = this.volume, { h, v, s } = pane.plane, channel = this.channelOf(pane);
      const values = channels[channel], greys = this.#table(channel), mask = this.isProjected(pane) && channels.mask;
      const width = shape[h], height = shape[v], [low, high] = this.slices(pane), most = greys.length - 1;
      if (pane.picture.width !== width || pane.picture.height !== height || !pane.image) {
        Object.assign(pane.picture, { width, height });
        pane.image = pane.picture.getContext("2d").createImageData(width, height);
        pane.pixels = new Uint32Array(pane.image.data.buffer);
      }
      let to = 0;
      for (let row = height - 1; row >= 0; row -= 1) {
        for (let column = width - 1; column >= 0; column -= 1, to += 1) {
          let at = column * strides[h] + row * strides[v] + low * strides[s], least = values[at];
          if (mask) {
            // Bone and air are dark, too: only the brain is projected, where there is any.
            const own = column * strides[h] + row * strides[v] + this.sliceOf(pane.plane) * strides[s];
            least = most;
            for (let k = low; k <= high; k += 1, at += strides[s]) if (mask[at] && values[at] < least) least = values[at];
            if (least === most) least = values[own];
          } else {
            for (let k = low + 1; k <= high; k += 1) {
              at += strides[s];
              if (values[at] < least) least = values[at];
            }
          }
          pane.pixels[to] = greys[least];
        }
      }
      pane.picture.getContext("2d").putImageData(pane.image, 0, 0);
    }

    #drawPane(pane) {
      const { canvas, plane } = pane, { shape, spacing } = this.volume, context = canvas.getContext("2d");
      const ratio = window.devicePixelRatio || 1;
      const width = Math.max(1, Math.round(canvas.clientWidth * ratio)), height = Math.max(1, Math.round(canvas.clientHeight * ratio));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      this.#paint(pane);
      const scale = this.scaleOf(pane), { h, v } = plane, corner = [...this.cursor];
      corner[h] = shape[h] - 0.5;
      corner[v] = shape[v] - 0.5;
      const origin = this.toPixel(pane, corner), step = [spacing[h] * scale, spacing[v] * scale];
      context.fillStyle = "#000";
      context.fillRect(0, 0, width, height);
      context.imageSmoothingEnabled = this.smooth;
      context.imageSmoothingQuality = "high";
      context.drawImage(pane.picture, ...origin, shape[h] * step[0], shape[v] * step[1]);
      for (const outline of this.hooks.outlines?.() || []) this.#outline(pane, context, outline, origin, step, ratio);
      if (this.rings) for (const ring of this.hooks.rings?.() || []) this.#ring(pane, context, scale, ratio, ring);
      if (this.cross) this.#cross(pane, context, scale, ratio);
      if (this.ruler && this.ruler.key === pane.key) this.#ruler(pane, context, ratio);
      if (this.letters) this.#words(pane, context, scale, ratio);
      if (pane.caption) pane.caption.textContent = pane.words ? pane.words(this.captionOf(pane)) : this.captionOf(pane);
    }

    captionOf(pane) {
      const { s } = pane.plane, { first, full, spacing } = this.volume;
      if (this.isProjected(pane)) {
        const [low, high] = this.slices(pane);
        return `Minimum over ${((high - low + 1) * spacing[s]).toFixed(0)} mm`;
      }
      return `${pane.plane.name}, slice ${first[s] + this.sliceOf(pane.plane) + 1} of ${full[s]}`;
    }

    /** Lines along the borders of labels, between voxels, so that they cover none. */
    #outline(pane, context, { labels: name, colour, width = 1.5 }, origin, step, ratio) {
      const labels = this.volume.channels[name];
      if (!labels) return;
      const { shape, strides } = this.volume, { h, v, s } = pane.plane, [low, high] = this.slices(pane);
      const across = shape[h], down = shape[v], here = new Uint16Array((across + 1) * (down + 1));
      for (let row = 0; row < down; row += 1) {
        for (let column = 0; column < across; column += 1) {
          let at = (across - 1 - column) * strides[h] + (down - 1 - row) * strides[v] + low * strides[s], most = 0;
          for (let k = low; k <= high; k += 1, at += strides[s]) if (labels[at] > most) most = labels[at];
          here[row * (across + 1) + column] = most;
        }
      }
      const paths = new Map();
      const line = (label, x, y, dx, dy) => {
        if (!paths.has(label)) paths.set(label, new Path2D());
        const path = paths.get(label), px = origin[0] + x * step[0], py = origin[1] + y * step[1];
        path.moveTo(px, py);
        path.lineTo(px + dx * step[0], py + dy * step[1]);
      };
      for (let row = 0; row <= down; row += 1) {
        for (let column = 0; column <= across; column += 1) {
          const own = here[row * (across + 1) + column];
          const left = column ? here[row * (across + 1) + column - 1] : 0, above = row ? here[(row - 1) * (across + 1) + column] : 0;
          if (own !== left) line(own || left, column, row, 0, 1);
          if (own !== above) line(own || above, column, row, 1, 0);
        }
      }
      context.lineWidth = width * ratio;
      for (const [label, path] of paths) {
        context.strokeStyle = typeof colour === "function" ? colour(label) : colour;
        context.stroke(path);
      }
    }

    #ring(pane, context, scale, ratio, { at, colour, dashed = false, reach = RING_MM }) {
      const voxel = this.volume.voxel(at), s = pane.plane.s, spacing = this.volume.spacing[s], [low, high] = this.slices(pane);
      const off = Math.max(low - voxel[s], voxel[s] - high, 0) * spacing;
      if (off > Math.max(reach - 1, spacing / 2)) return;
      context.beginPath();
      context.arc(...this.toPixel(pane, voxel), Math.max(Math.sqrt(reach ** 2 - Math.min(off, reach) ** 2), 2.5) * scale, 0, 2 * Math.PI);
      context.setLineDash(dashed ? [5 * ratio, 4 * ratio] : []);
      for (const [line, wide] of [["rgb(0 0 0 / .6)", 3], [colour, 1.5]]) {
        context.strokeStyle = line;
        context.lineWidth = wide * ratio;
        context.stroke();
      }
      context.setLineDash([]);
    }

    /** Arms about the point, with a free middle, and ticks at the rims. */
    #cross(pane, context, scale, ratio) {
      const [x, y] = this.toPixel(pane, this.cursor), { width, height } = pane.canvas, tick = 9 * ratio;
      const arms = [[x, 0, x, tick], [x, height, x, height - tick], [0, y, tick, y], [width, y, width - tick, y]];
      if (this.pointed) {
        const gap = Math.max(GAP_MM * scale, 7 * ratio), end = gap + Math.max((ARM_MM - GAP_MM) * scale, 8 * ratio);
        arms.push([x - end, y, x - gap, y], [x + gap, y, x + end, y], [x, y - end, x, y - gap], [x, y + gap, x, y + end]);
      }
      context.beginPath();
      for (const [a, b, c, d] of arms) {
        context.moveTo(a, b);
        context.lineTo(c, d);
      }
      for (const [colour, wide] of [["rgb(0 0 0 / .7)", 3.5], ["#8fd4ff", 1.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = wide * ratio;
        context.stroke();
      }
    }

    #ruler(pane, context, ratio) {
      const [from, to] = this.ruler.ends.map((mm) => this.toPixel(pane, this.volume.voxel(mm)));
      context.beginPath();
      context.moveTo(...from);
      context.lineTo(...to);
      for (const [colour, wide] of [["#000", 4], ["#ffe14d", 1.8]]) {
        context.strokeStyle = colour;
        context.lineWidth = wide * ratio;
        context.stroke();
      }
      context.font = `600 ${14 * ratio}px system-ui, sans-serif`;
      context.textAlign = "left";
      this.#write(context, `${this.length.toFixed(1)} mm`, Math.max(from[0], to[0]) + 8 * ratio, (from[1] + to[1]) / 2, "#ffe14d", ratio);
    }

    /** mm between the ends of the ruler; null without one. */
    get length() {
      return this.ruler && Math.hypot(...isAxis.map((k) => this.ruler.ends[0][k] - this.ruler.ends[1][k]));
    }

    #write(context, text, x, y, colour, ratio) {
      context.lineJoin = "round";
      context.lineWidth = 3.5 * ratio;
      context.strokeStyle = "rgb(0 0 0 / .85)";
      context.strokeText(text, x, y);
      context.fillStyle = colour;
      context.fillText(text, x, y);
    }

    #words(pane, context, scale, ratio) {
      const { width, height } = pane.canvas, ends = pane.plane.ends, small = 6 * ratio;
      context.font = `600 ${LETTERS_PX * ratio}px system-ui, sans-serif`;
      const put = (text, x, y, side) => {
        context.textAlign = side;
        this.#write(context, text, x, y, "#f2f2f2", ratio);
      };
      put(ends[0], small, height / 2 - 8 * ratio, "left");
      put(ends[1], width - small, height / 2 - 8 * ratio, "right");
      // The caption has the upper left corner.
      put(ends[2], width / 2 + 8 * ratio, (width < 420 * ratio ? 34 : 16) * ratio, "left");
      put(ends[3], width / 2 + 8 * ratio, height - 7 * ratio, "left");
      const mm = [50, 20, 10, 5].find((one) => one * scale < width / 4) ?? 2, x = width - 10 * ratio, y = height - 10 * ratio;
      context.fillStyle = "rgb(0 0 0 / .85)";
      context.fillRect(x - mm * scale - ratio, y - 3 * ratio, mm * scale + 2 * ratio, 4 * ratio);
      context.fillStyle = "#f2f2f2";
      context.fillRect(x - mm * scale, y - 2 * ratio, mm * scale, 2 * ratio);
      put(`${mm} mm`, x, y - 8 * ratio, "right");
    }

    /** Draw in the next frame; `after` is called when it has been painted. */
    draw(after) {
      if (this.waiting === null) {
        this.waiting = [];
        requestAnimationFrame(() => {
          const then = this.waiting;
          this.waiting = null;
          if (!this.volume) return;
          this.panes.filter((pane) => pane.canvas.clientWidth).forEach((pane) => this.#drawPane(pane));
          this.hooks.drawn?.();
          requestAnimationFrame(() => then.forEach((f) => f()));
        });
      }
      if (after) this.waiting.push(after);
    }

    // --- the mouse: left for the chosen tool, middle or Shift for moving, right for the zoom ---

    #listen(pane) {
      let wheel = 0, from = null;
      const { canvas } = pane;
      canvas.addEventListener("contextmenu", (event) => event.preventDefault());
      canvas.addEventListener("wheel", (event) => {
        if (!this.volume) return;
        event.preventDefault();
        const way = event.deltaY || event.deltaX;
        if (event.ctrlKey || event.metaKey) return this.zoomBy(Math.exp(-clamp(way, -60, 60) / 250), this.toVoxel(pane, event));
        wheel += clamp(way * (event.deltaMode ? 40 : 1), -50, 50);
        const steps = Math.trunc(wheel / 50);
        wheel -= steps * 50;
        if (steps && event.shiftKey) this.thicken(-2 * steps);
        else if (steps) this.scroll(pane.plane, -steps);
      }, { passive: false });
      canvas.addEventListener("pointerdown", (event) => {
        if (!this.volume || event.button > 2) return;
        if (event.button) event.preventDefault();
        canvas.setPointerCapture(event.pointerId);
        const tool = event.button === 2 ? "zoom" : event.button === 1 || event.shiftKey ? "pan" : this.tool;
        from = {
          x: event.clientX, y: event.clientY, tool, dragged: false, at: this.toVoxel(pane, event), centre: [...this.centre],
          zoom: this.zoom, contrast: { ...this.contrastOf(this.channelOf(pane)) }, button: event.button,
        };
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!from) return;
        const dx = event.clientX - from.x, dy = event.clientY - from.y;
        if (!from.dragged && Math.hypot(dx, dy) < CLICK_PX) return;
        from.dragged = true;
        this.#drag(pane, from, dx, dy, event);
      });
      canvas.addEventListener("pointerup", (event) => {
        if (from && !from.dragged && from.button === 0) this.point(this.toVoxel(pane, event));
        if (from?.dragged) this.hooks.dragged?.();
        from = null;
      });
      canvas.addEventListener("pointercancel", () => { from = null; });
      canvas.addEventListener("dblclick", () => this.hooks.twice?.());
    }

    #drag(pane, from, dx, dy, event) {
      const { h, v } = pane.plane, ratio = pane.canvas.width / pane.canvas.clientWidth, scale = this.scaleOf(pane);
      if (from.tool === "pan") {
        this.centre[h] = from.centre[h] + (dx * ratio) / (this.volume.spacing[h] * scale);
        this.centre[v] = from.centre[v] + (dy * ratio) / (this.volume.spacing[v] * scale);
      } else if (from.tool === "zoom") {
        this.zoom = from.zoom;
        this.centre = [...from.centre];
        return this.zoomBy(Math.exp(-dy / 150), from.at);
      } else if (from.tool === "ruler") {
        this.ruler = { key: pane.key, ends: [this.volume.mm(from.at), this.volume.mm(this.toVoxel(pane, event))] };
      } else {
        const { low, high } = from.contrast, span = high - low, middle = (low + high) / 2 + (dy / 400) * span;
        const half = Math.max(0.02, (span * Math.exp(dx / 250)) / 2);
        this.contrast[this.channelOf(pane)] = { low: middle - half, high: middle + half };
      }
      return this.draw();
    }
  }

  return { PLANES, Viewer, volume };
})();
