"use strict";
// The page of one reader's review. Images come once as 16-bit arrays; scrolling, contrast and
// projection happen here. A decision is on the server's disk before the next lesion is shown.
(() => {
  // The token leaves the address bar and the history; the tab keeps it.
  const given = new URLSearchParams(location.search).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", "/");
  }
  const token = given || sessionStorage.getItem("token");
  const $ = (id) => document.getElementById(id);
  const PLANES = {
    // Columns run along h, rows along v, both falling: the person's right is on the left.
    axial: { name: "Axial", h: 0, v: 1, s: 2, ends: ["R", "L", "A", "P"] },
    second: { name: "", h: 0, v: 1, s: 2, ends: ["R", "L", "A", "P"] },
    coronal: { name: "Coronal", h: 0, v: 2, s: 1, ends: ["R", "L", "S", "I"] },
    sagittal: { name: "Sagittal", h: 1, v: 2, s: 0, ends: ["A", "P", "S", "I"] },
  };
  const BLOCK_MM = 60, PROJECTION_HALF_MM = 5, RING_MM = 5.5;
  const CONTRAST = { magnitude: { low: 0, high: 1.8 }, phase: { low: 0, high: 1 } };
  const AHEAD = 4, KEPT = 24;

  const view = {
    index: -1, volume: null, seen: false, whole: false, cursor: [0, 0, 0], centre: [0, 0, 0], zoom: 1,
    second: "minip", rings: true, smooth: true, contrast: structuredClone(CONTRAST),
  };
  let review = { items: [], classes: [] };
  let saving = false;
  let refused = null;  // the request that is not saved, to be sent again
  let pressed = null;  // when the key was pressed that led to what is shown next
  // For measurements: milliseconds from a key to the painted next lesion.
  window.reviewTimings = [];

  // --- the server ---

  async function ask(path, body) {
    const options = { headers: { Authorization: `Bearer ${token}` } };
    if (body !== undefined) Object.assign(options, { method: "POST", body: JSON.stringify(body) });
    const answer = await fetch(path, options);
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw Object.assign(new Error(said.error || `the server says ${answer.status}`), { told: true });
    }
    return answer;
  }

  function pill(text, kind) {
    $("saved").textContent = text;
    $("saved").className = `pill ${kind}`;
  }

  /** Send a decision until it is saved; null where the server refuses it. */
  async function save(path, body) {
    if (saving) return null;
    saving = true;
    pill("Saving", "");
    // A request that is sent twice, such as after a broken connection, is carried out once.
    const sent = { key: [...crypto.getRandomValues(new Uint32Array(4))].map((n) => n.toString(16)).join("-"), ...body };
    try {
      for (;;) {
        try {
          const answer = await (await ask(path, sent)).json();
          for (const item of answer.items) Object.assign(review.items[item.id], { software: undefined }, item, { locked: !!item.locked });
          pill("Saved", "good");
          say(answer.notice ? `${answer.notice}.` : "", true);
          if (refused && (refused.body.key === sent.key || isSame(refused.body, sent))) keep(null);
          return answer;
        } catch (error) {
          pill("Not saved", "bad");
          if (error.told) {
            say(`Not saved: ${error.message}.`);
            keep({ path, body: sent });
            return null;
          }
          say("Not saved: the review no longer runs. Trying again. If you start it anew, open its new address and repeat this decision; all before it are saved.");
          await new Promise((go) => setTimeout(go, 1500));
        }
      }
    } finally {
      saving = false;
      sidebar();
    }
  }

  const isSame = (one, other) => ["item", "action", "class", "note"].every((name) => one[name] === other[name]);

  /** Keep a refused request on the page, in words to copy, until it is saved or given up. */
  function keep(request) {
    refused = request;
    $("unsaved").hidden = !request;
    if (!request) return;
    const { action, class: kind, at, note, item } = request.body;
    const scan = item === undefined ? "" : review.items[item].scan;
    const place = at ? `at ${at.map((v) => v.toFixed(1)).join(", ")} mm` : "";
    $("unsaved-words").textContent = [action || "undo", kind ? words(kind).toLowerCase() : "", scan, place, note ? `note: ${note}` : ""].filter(Boolean).join(", ");
  }

  async function again() {
    if (!refused || saving) return;
    const { path, body } = refused;
    const answer = await save(path, body);
    if (!answer) return;
    progress();
    if (body.item === undefined) await show(answer.undone ?? view.index);
    else if (body.item === view.index && ["accept", "reject", "read"].includes(body.action)) onward();
    else draw();
  }

  function say(text, calm = false) {
    $("message").textContent = text;
    $("message").classList.toggle("calm", calm);
  }

  // --- volumes ---

  function unpack(buffer) {
    const size = new DataView(buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    const [nx, ny, nz] = header.shape, count = nx * ny * nz, a = header.affine;
    const channels = {};
    header.channels.forEach((name, k) => {
      channels[name] = new Uint16Array(buffer, 4 + size + 2 * k * count, count);
    });
    const spacing = [0, 1, 2].map((j) => Math.hypot(a[0][j], a[1][j], a[2][j]));
    const m = a.slice(0, 3).map((row) => row.slice(0, 3));
    const minor = (i, j) => {
      const [p, q] = [0, 1, 2].filter((x) => x !== i), [r, s] = [0, 1, 2].filter((x) => x !== j);
      return (m[p][r] * m[q][s] - m[p][s] * m[q][r]) * ((i + j) % 2 ? -1 : 1);
    };
    const det = m[0][0] * minor(0, 0) + m[0][1] * minor(0, 1) + m[0][2] * minor(0, 2);
    return {
      shape: header.shape, first: header.first, full: header.full, strides: [1, nx, nx * ny], spacing, channels, unit: header.unit, note: header.note,
      voxel: (mm) => [0, 1, 2].map((i) => [0, 1, 2].reduce((sum, j) => sum + (minor(j, i) / det) * (mm[j] - a[j][3]), 0)),
      mm: (v) => [0, 1, 2].map((i) => a[i][0] * v[0] + a[i][1] * v[1] + a[i][2] * v[2] + a[i][3]),
    };
  }

  function keeper(path, kept) {
    const held = new Map();
    return (id, key = id) => {
      if (!held.has(key)) {
        const coming = ask(`/api/${path}/${id}`).then((a) => a.arrayBuffer()).then(unpack);
        coming.catch(() => held.delete(key));
        held.set(key, coming);
      } else {
        held.set(key, held.get(key));
      }
      const found = held.get(key);
      held.delete(key);
      held.set(key, found);
      while (held.size > kept) held.delete(held.keys().next().value);
      return found;
    };
  }
  const block = keeper("block", KEPT);
  const scan = keeper("scan", 2);
  const isWhole = (item) => view.whole || item.mode === "free-hand";
  const volumeOf = (item) => (isWhole(item) ? scan(item.id, item.scan) : block(item.id));

  // --- the worklist ---

  const isOpen = (item) => !item.state || item.state.decision === "note";
  const placeOf = (item) => (item.state && item.state.at) || item.at;

  function seek(from, step, wanted) {
    for (let k = from + step; k >= 0 && k < review.items.length; k += step) {
      if (!review.items[k].locked && wanted(review.items[k])) return k;
    }
    return -1;
  }

  function nextOpen(from) {
    const after = seek(from, 1, isOpen);
    return after >= 0 ? after : seek(-1, 1, isOpen);
  }

  async function show(index) {
    const item = review.items[index];
    if (index !== view.index) view.whole = false;
    view.index = index;
    view.zoom = 1;
    view.seen = false;
    document.body.dataset.busy = "";
    sidebar();
    const late = setTimeout(() => { $("loading").hidden = false; }, 120);
    try {
      const volume = await volumeOf(item);
      if (view.index !== index) return;
      view.volume = volume;
      const middle = volume.shape.map((n) => (n - 1) / 2);
      view.cursor = item.mode === "free-hand" ? [...middle] : volume.voxel(placeOf(item));
      view.centre = [...(isWhole(item) ? middle : view.cursor)];
      draw(() => {
        if (pressed !== null) window.reviewTimings.push(performance.now() - pressed);
        pressed = null;
        view.seen = true;
        document.body.dataset.shown = String(index);
        delete document.body.dataset.busy;
      });
    } catch (error) {
      say(`The images do not come: ${error.message}.`);
    } finally {
      clearTimeout(late);
      if (view.index === index) $("loading").hidden = true;
    }
    for (let k = index, n = 0; n < AHEAD; n += 1) {
      k = seek(k, 1, isOpen);
      if (k < 0) break;
      const coming = review.items[k];
      if (isWhole(coming)) {
        if (n === 0 || coming.scan === item.scan) volumeOf(coming).catch(() => {});
        break;
      }
      volumeOf(coming).catch(() => {});
    }
  }

  function onward() {
    const next = nextOpen(view.index);
    if (next >= 0) return show(next);
    pressed = null;
    draw();
    say("All is decided and saved. End the review with Ctrl-C where you started it; the next cmburden run counts with your decisions.", true);
  }

  // --- decisions ---

  const current = () => review.items[view.index];

  async function decide(action, more = {}) {
    const item = current();
    const sent = { item: item.id, action, note: item.state ? item.state.note : "", at: placeOf(item) || null, ...more };
    return save("/api/decisions", sent);
  }

  async function choose(name) {
    const item = current();
    // A second press is not to decide on a lesion that is not on the screen yet.
    if (!item || saving || !view.seen) return;
    let done;
    if (item.mode === "free-hand") {
      if (name !== "read") return;
      done = await decide("read");
      if (done) review = await (await ask("/api/overview")).json();
    } else if (name === "microbleed") done = await decide("accept");
    else if (name === "read") return;
    else done = await decide("reject", { class: name || null });
    if (done) { progress(); onward(); }
  }

  async function move() {
    const item = current();
    if (!view.seen) return;
    const at = view.volume.mm(view.cursor);
    if (item.mode === "free-hand") return;
    const action = isOpen(item) ? "note" : item.state.decision;
    if (await decide(action, { at, class: item.state ? item.state.class : null })) {
      say("Moved.", true);
      draw();
    }
  }

  async function addMark() {
    if (!view.seen) return;
    if (await decide("add", { at: view.volume.mm(view.cursor), note: "" })) {
      say("Added at the point.", true);
      draw();
    }
  }

  async function removeMark(mark) {
    if (await decide("remove", { mark, at: null, note: "" })) {
      say("Mark deleted.", true);
      draw();
    }
  }

  /** Go to a place of the scan, in the whole scan where the block does not hold it. */
  async function visit(mm) {
    const held = (v) => v.every((x, k) => x > -0.5 && x < view.volume.shape[k] - 0.5);
    if (!held(view.volume.voxel(mm))) {
      view.whole = true;
      await show(view.index);
    }
    view.cursor = inside(view.volume.voxel(mm));
    if (!isWhole(current())) view.centre = [...view.cursor];
    draw();
  }

  function nearestMark() {
    const here = view.volume.mm(view.cursor);
    const far = (m) => Math.hypot(...m.at.map((v, k) => v - here[k]));
    return [...current().marks].sort((a, b) => far(a) - far(b))[0];
  }

  async function undo() {
    const answer = await save("/api/undo", {});
    if (!answer) return;
    progress();
    if (answer.undone === null) return say("Nothing to undo.", true);
    if (review.items.some((i) => i.mode === "free-hand")) review = await (await ask("/api/overview")).json();
    await show(answer.undone);
    say("Undone.", true);
  }

  function writeNote() {
    const item = current();
    if (item.mode === "free-hand" && !item.state) return say("Say first that the scan is read; then note.", true);
    $("text").value = item.state ? item.state.note : "";
    $("noting").returnValue = "";
    $("noting").showModal();
    $("text").focus();
  }

  $("noting").addEventListener("close", async () => {
    if ($("noting").returnValue !== "save") return;
    const item = current();
    const action = item.mode === "free-hand" ? "read" : isOpen(item) ? "note" : item.state.decision;
    await decide(action, { note: $("text").value.trim(), class: item.state ? item.state.class : null });
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      $("noting").close("save");
    }
  });

  // --- the sidebar ---

  function progress() {
    const open = review.items.filter(isOpen).length, all = review.items.length;
    $("bar").max = all || 1;
    $("bar").value = all - open;
    const free = review.items.filter((i) => i.mode === "free-hand");
    const scans = free.length ? `, ${free.filter((i) => !isOpen(i)).length} of ${free.length} scans read` : "";
    const lesions = review.items.filter((i) => i.mode === "review");
    $("progress").textContent = `${lesions.filter((i) => !isOpen(i)).length} of ${lesions.length} lesions decided${scans}`;
  }

  const words = (name) => (review.classes.find((c) => c.name === name) || { words: name }).words;

  function verdict(item) {
    const state = item.state;
    if (item.mode === "free-hand") return state ? "Read" : "";
    if (!state || state.decision === "note") return "";
    if (state.decision === "accept") return "Accepted: microbleed";
    return state.class ? `Rejected: ${words(state.class).toLowerCase()}` : "Rejected";
  }

  function button(label, key, name, on, extra = "") {
    const made = document.createElement("button");
    made.append(label);
    const hint = document.createElement("kbd");
    hint.textContent = key;
    made.append(hint);
    made.dataset.choice = name;
    made.className = extra;
    made.setAttribute("aria-pressed", String(on));
    return made;
  }

  function sidebar() {
    const item = current();
    if (!item) return;
    const same = review.items.filter((i) => i.mode === item.mode);
    const number = same.indexOf(item) + 1;
    const free = item.mode === "free-hand";
    $("title").textContent = free ? `Read free-hand: ${number} of ${same.length}` : `Lesion ${number} of ${same.length}`;
    $("scan").textContent = `${item.scan} · ${item.contrast}`;
    $("place").textContent = free
      ? "Point at each microbleed and add it (N). No detections are shown. When all are marked, or there are none: scan read (D)."
      : [item.hemisphere, item.region].filter((w) => w && w !== "unknown").join(" ");
    const soft = item.software;
    $("software").hidden = !soft;
    if (soft) {
      const parts = [
        `${soft.label}, probability ${soft.probability === null ? "–" : soft.probability.toFixed(2)}`,
        `3D CNN ${soft.p_cnn.toFixed(2)}, YOLO: ${soft.yolo_class ? words(soft.yolo_class).toLowerCase() : "–"}`,
        soft.diameter_mm === null ? "" : `${soft.diameter_mm.toFixed(1)} mm across`,
      ];
      fill($("software"), "The software", parts);
    }
    $("votes").hidden = !(item.votes && item.votes.length);
    if (item.votes) fill($("votes"), "The readers", item.votes.map((v) => words(v)));
    $("verdict").textContent = verdict(item);
    $("verdict").classList.toggle("yes", !!item.state && item.state.decision === "accept");
    const choices = free
      ? [button("Scan read", "D", "read", !!item.state, "main")]
      : review.classes.map((c, k) =>
          button(c.words, k ? String(k + 1) : "A", c.name, !!item.state && item.state.decision !== "note" && item.state.class === c.name, k ? "" : "yes"));
    if (!free) {
      choices.splice(1, 0, button("Not a microbleed", "R", "", !!item.state && item.state.decision === "reject" && !item.state.class));
    }
    const had = document.activeElement && document.activeElement.dataset.choice;
    $("choices").replaceChildren(...choices);
    if (had !== undefined && had !== null) {
      const again = choices.find((b) => b.dataset.choice === had);
      if (again) again.focus({ preventScroll: true });
    }
    $("move").disabled = free;
    const note = item.state ? item.state.note : "";
    $("note").hidden = !note;
    $("note").textContent = note;
    $("marks").hidden = !item.marks.length;
    $("marks").querySelector("ul").replaceChildren(
      ...item.marks.map((mark) => {
        const row = document.createElement("li"), at = document.createElement("span");
        at.textContent = [mark.hemisphere, mark.region].filter((w) => w && w !== "unknown").join(" ") || "place unknown";
        const go = document.createElement("button"), drop = document.createElement("button");
        go.textContent = "Show";
        go.addEventListener("click", () => visit(mark.at));
        drop.textContent = "Delete";
        drop.addEventListener("click", () => removeMark(mark.mark));
        row.append(at, go, drop);
        return row;
      }),
    );
    $("back").disabled = seek(view.index, -1, () => true) < 0;
    $("next").disabled = seek(view.index, 1, () => true) < 0;
  }

  function fill(box, title, lines) {
    const head = document.createElement("b");
    head.textContent = title;
    box.replaceChildren(head, ...lines.filter(Boolean).map((line) => Object.assign(document.createElement("p"), { textContent: line })));
  }

  // --- drawing ---

  const panes = [...document.querySelectorAll(".pane")].map((figure) => ({
    figure, plane: PLANES[figure.dataset.pane], key: figure.dataset.pane, canvas: figure.querySelector("canvas"),
    caption: figure.querySelector("figcaption"), picture: document.createElement("canvas"),
  }));
  const tables = {};

  const channelOf = (pane) => (pane.key === "second" && view.second === "phase" && view.volume.channels.phase ? "phase" : "magnitude");
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const inside = (v) => v.map((x, k) => clamp(x, 0, view.volume.shape[k] - 1));
  const sliceOf = (plane) => clamp(Math.round(view.cursor[plane.s]), 0, view.volume.shape[plane.s] - 1);

  function table(channel) {
    const { low, high } = view.contrast[channel], unit = channel === "phase" ? 1 / 65535 : view.volume.unit;
    const key = `${channel} ${low} ${high} ${unit}`;
    if (tables[channel]?.key !== key) {
      const greys = new Uint32Array(65536), scale = 255 / Math.max(high - low, 1e-4);
      for (let v = 0; v < 65536; v += 1) {
        const grey = clamp(Math.round((v * unit - low) * scale), 0, 255);
        greys[v] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
      }
      tables[channel] = { key, greys };
    }
    return tables[channel].greys;
  }

  function slab(pane) {
    const k = sliceOf(pane.plane);
    if (pane.key !== "second" || view.second === "phase") return [k, k];
    const half = Math.max(1, Math.round(PROJECTION_HALF_MM / view.volume.spacing[pane.plane.s]));
    return [Math.max(0, k - half), Math.min(view.volume.shape[pane.plane.s] - 1, k + half)];
  }

  function paint(pane) {
    const volume = view.volume, { h, v, s } = pane.plane, channel = channelOf(pane);
    const values = volume.channels[channel], greys = table(channel);
    const width = volume.shape[h], height = volume.shape[v], [low, high] = slab(pane);
    const [sh, sv, ss] = [h, v, s].map((axis) => volume.strides[axis]);
    if (pane.picture.width !== width || pane.picture.height !== height || !pane.image) {
      Object.assign(pane.picture, { width, height });
      pane.image = pane.picture.getContext("2d").createImageData(width, height);
      pane.pixels = new Uint32Array(pane.image.data.buffer);
    }
    let to = 0;
    for (let row = height - 1; row >= 0; row -= 1) {
      for (let column = width - 1; column >= 0; column -= 1, to += 1) {
        let at = column * sh + row * sv + low * ss, least = values[at];
        for (let k = low + 1; k <= high; k += 1) {
          at += ss;
          if (values[at] < least) least = values[at];
        }
        pane.pixels[to] = greys[least];
      }
    }
    pane.picture.getContext("2d").putImageData(pane.image, 0, 0);
  }

  function scaleOf(pane) {
    const { h, v } = pane.plane, volume = view.volume;
    const full = isWhole(current());
    const wide = full ? volume.shape[h] * volume.spacing[h] : BLOCK_MM, tall = full ? volume.shape[v] * volume.spacing[v] : BLOCK_MM;
    return Math.min(pane.canvas.width / wide, pane.canvas.height / tall) * view.zoom;
  }

  const toPixel = (pane, v) => [pane.plane.h, pane.plane.v].map((axis, k) =>
    (k ? pane.canvas.height : pane.canvas.width) / 2 + (view.centre[axis] - v[axis]) * view.volume.spacing[axis] * scaleOf(pane));

  function drawPane(pane) {
    const { canvas, plane } = pane, volume = view.volume, context = canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio)), height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    paint(pane);
    const scale = scaleOf(pane), { h, v, s } = plane;
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = view.smooth;
    context.imageSmoothingQuality = "high";
    const corner = [...view.cursor];
    corner[h] = volume.shape[h] - 0.5;
    corner[v] = volume.shape[v] - 0.5;
    context.drawImage(pane.picture, ...toPixel(pane, corner), volume.shape[h] * volume.spacing[h] * scale, volume.shape[v] * volume.spacing[v] * scale);
    if (view.rings) overlay(pane, context, scale, ratio);
    context.font = `${12 * ratio}px system-ui, sans-serif`;
    context.fillStyle = "#bdbdbd";
    context.textAlign = "left";
    // Beside the pointer's ticks, which start at the middle.
    context.fillText(plane.ends[0], 6 * ratio, height / 2 - 8 * ratio);
    context.fillText(plane.ends[2], width / 2 + 8 * ratio, 15 * ratio);
    context.fillText(plane.ends[3], width / 2 + 8 * ratio, height - 7 * ratio);
    context.textAlign = "right";
    context.fillText(plane.ends[1], width - 6 * ratio, height / 2 - 8 * ratio);
    if (pane.key === "axial") {
      context.fillRect(width - 10 * ratio - 10 * scale, height - 12 * ratio, 10 * scale, 2 * ratio);
      context.fillText("10 mm", width - 10 * ratio, height - 18 * ratio);
    }
    pane.caption.textContent = caption(pane);
  }

  function caption(pane) {
    const { s } = pane.plane, number = view.volume.first[s] + sliceOf(pane.plane) + 1, all = view.volume.full[s];
    if (pane.key !== "second") return `${pane.plane.name}, slice ${number} of ${all}`;
    if (view.second === "phase") return `Phase, slice ${number} of ${all}`;
    const [low, high] = slab(pane);
    const mm = (high - low + 1) * view.volume.spacing[pane.plane.s];
    return `Minimum over ${mm.toFixed(0)} mm${view.volume.channels.phase ? " (P: phase)" : ""}`;
  }

  function overlay(pane, context, scale, ratio) {
    const volume = view.volume, item = current(), [low, high] = slab(pane);
    const ring = (mm, colour, dashed) => {
      const at = volume.voxel(mm), s = pane.plane.s, spacing = volume.spacing[s];
      const off = Math.max(low - at[s], at[s] - high, 0) * spacing;
      if (off > Math.max(RING_MM - 1, spacing / 2)) return;
      context.beginPath();
      context.arc(...toPixel(pane, at), Math.max(Math.sqrt(RING_MM ** 2 - Math.min(off, RING_MM) ** 2), 2.5) * scale, 0, 2 * Math.PI);
      context.setLineDash(dashed ? [5 * ratio, 4 * ratio] : []);
      context.strokeStyle = colour;
      context.lineWidth = 1.5 * ratio;
      context.stroke();
      context.setLineDash([]);
    };
    if (item.mode === "review") ring(placeOf(item), "#ffb000", false);
    for (const mark of item.marks) ring(mark.at, "#64d2ff", true);
    const [x, y] = toPixel(pane, view.cursor), long = 9 * ratio;
    context.strokeStyle = "#ececec";
    context.lineWidth = 1.5 * ratio;
    context.beginPath();
    for (const [a, b, c, d] of [[x, 0, x, long], [x, pane.canvas.height, x, pane.canvas.height - long], [0, y, long, y], [pane.canvas.width, y, pane.canvas.width - long, y]]) {
      context.moveTo(a, b);
      context.lineTo(c, d);
    }
    context.stroke();
  }

  let drawn = null;
  /** Draw in the next frame; ``after`` is called when it has been painted. */
  function draw(after) {
    if (drawn === null) {
      drawn = [];
      requestAnimationFrame(() => {
        const then = drawn;
        drawn = null;
        if (!view.volume || !current()) return;
        panes.forEach(drawPane);
        requestAnimationFrame(() => then.forEach((f) => f()));
      });
    }
    if (after) drawn.push(after);
  }

  // --- pointer ---

  function scroll(plane, steps) {
    if (!view.volume) return;
    view.cursor[plane.s] = clamp(Math.round(view.cursor[plane.s]) + steps, 0, view.volume.shape[plane.s] - 1);
    draw();
  }

  for (const pane of panes) {
    let wheel = 0, from = null;
    pane.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      wheel += clamp(event.deltaY * (event.deltaMode ? 40 : 1), -50, 50);
      const steps = Math.trunc(wheel / 50);
      wheel -= steps * 50;
      if (steps) scroll(pane.plane, -steps);
    }, { passive: false });
    pane.canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !view.volume) return;
      pane.canvas.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY, contrast: { ...view.contrast[channelOf(pane)] }, dragged: false };
    });
    pane.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const dx = event.clientX - from.x, dy = event.clientY - from.y;
      if (!from.dragged && Math.hypot(dx, dy) < 4) return;
      from.dragged = true;
      const { low, high } = from.contrast, span = high - low, middle = (low + high) / 2 + (dy / 400) * (high - low > 0 ? 1 : 0);
      const half = Math.max(0.02, (span * Math.exp(dx / 250)) / 2);
      view.contrast[channelOf(pane)] = { low: middle - half, high: middle + half };
      draw();
    });
    pane.canvas.addEventListener("pointerup", (event) => {
      if (from && !from.dragged) point(pane, event);
      from = null;
    });
    pane.canvas.addEventListener("pointercancel", () => { from = null; });
  }

  function point(pane, event) {
    const box = pane.canvas.getBoundingClientRect(), ratio = pane.canvas.width / box.width, scale = scaleOf(pane);
    const pixel = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    const size = [pane.canvas.width, pane.canvas.height];
    [pane.plane.h, pane.plane.v].forEach((axis, k) => {
      view.cursor[axis] = view.centre[axis] - (pixel[k] - size[k] / 2) / (view.volume.spacing[axis] * scale);
    });
    view.cursor = inside(view.cursor);
    draw();
  }

  // --- keys ---

  async function toggleWhole() {
    if (current().mode === "free-hand") return;
    const here = view.volume.mm(view.cursor);
    view.whole = !view.whole;
    await show(view.index);
    view.cursor = inside(view.volume.voxel(here));
    draw();
  }

  function zoom(factor) {
    view.zoom = clamp(view.zoom * factor, 0.5, 12);
    view.centre = [...view.cursor];
    draw();
  }

  const go = (step) => {
    const to = seek(view.index, step, () => true);
    if (to >= 0) show(to);
  };
  const AXIAL = PLANES.axial;
  const ACTIONS = {
    a: () => choose("microbleed"), r: () => choose(""), d: () => choose("read"), m: move, n: addMark, t: writeNote, u: undo,
    x: () => { const mark = nearestMark(); if (mark) removeMark(mark.mark); },
    g: () => { const first = seek(-1, 1, isOpen); if (first >= 0) show(first); },
    w: toggleWhole,
    p: () => {
      if (!view.volume.channels.phase) return say(view.volume.note ? `${view.volume.note[0].toUpperCase()}${view.volume.note.slice(1)}.` : "No phase image.", true);
      view.second = view.second === "phase" ? "minip" : "phase";
      draw();
    },
    o: () => { view.rings = !view.rings; draw(); },
    i: () => { view.smooth = !view.smooth; draw(); },
    c: () => { view.centre = [...view.cursor]; draw(); },
    0: () => { view.contrast = structuredClone(CONTRAST); show(view.index); },
    "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3),
    ArrowLeft: () => go(-1), ArrowRight: () => go(1), ArrowUp: () => scroll(AXIAL, 1), ArrowDown: () => scroll(AXIAL, -1),
    "?": () => $("help").showModal(), h: () => $("help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() === "z") { event.preventDefault(); undo(); }
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const number = Number(key);
    const picked = number >= 1 && review.classes[number - 1];
    const action = picked ? () => choose(picked.name) : ACTIONS[key];
    if (!action || !current() || (!view.volume && key !== "?")) return;
    event.preventDefault();
    say("");
    pressed = event.timeStamp;
    action();
  });
  document.querySelectorAll("button[data-key]").forEach((b) => b.addEventListener("click", () => { say(""); ACTIONS[b.dataset.key](); }));
  $("choices").addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (chosen) choose(chosen.dataset.choice);
  });
  $("again").addEventListener("click", again);
  $("give-up").addEventListener("click", () => { keep(null); say(""); });
  window.addEventListener("beforeunload", (event) => { if (saving || refused) event.preventDefault(); });
  // The address alone opens nothing: the keys that load a page anew go by the token.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "F5" && !((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "r")) return;
    event.preventDefault();
    location.replace(`/?token=${encodeURIComponent(token)}`);
  });
  new ResizeObserver(() => draw()).observe($("panes"));

  (async () => {
    try {
      review = await (await ask("/api/overview")).json();
      progress();
      pill("Saved", "good");
      const first = seek(-1, 1, isOpen);
      await show(first >= 0 ? first : 0);
      if (first < 0) onward();
    } catch (error) {
      pill("Not connected", "bad");
      say(`The review cannot be read: ${error.message}.`);
    }
  })();
})();
