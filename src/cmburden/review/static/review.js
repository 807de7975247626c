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
  const BLOCK_MM = 60, MOSAIC = 20, LISTED = 500;
  const WINDOWS = [["brain", 0, 1.8], ["dark spots", 0, 1.1], ["narrow", 0.4, 1.4]];
  const AHEAD = 4, KEPT = 48;
  // Images beside the scan: how many are held, and the 16-bit value that is drawn white.
  const MOST_OTHERS = 16, WHITE = 40000;
  const WORDS = ["quality", "quality_reason", "siderosis", "siderosis_place", "siderosis_foci"];
  const HUNG = ["second", "preset", "slab", "smooth", "rings"];

  const view = { index: -1, seen: false, shownAt: 0, whole: false, second: "minip", preset: 0, all: false, told: false };
  let review = { items: [], classes: [] };
  let saving = false;
  let refused = null;  // the request that is not saved, to be sent again
  let pressed = null;  // when the key or button was pressed that led to what is shown next
  // For measurements: milliseconds from a key or click to the painted next lesion.
  window.reviewTimings = [];
  const began = performance.now(), paces = [];

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
    const units = { phase: 1 / 65535 };
    for (let k = 0; k < MOST_OTHERS; k += 1) units[`beside${k}`] = 1 / WHITE;
    return Slices.volume({ ...header, affine: a, channels, units, others: [] });
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

  // --- the images beside the scan ---

  const listed = new Map();
  /** Names of the other images of an item's scan. */
  function othersOf(item) {
    if (!listed.has(item.scan)) {
      const coming = ask(`/api/beside/${item.id}`).then((a) => a.json()).then((a) => a.others.slice(0, MOST_OTHERS));
      coming.catch(() => listed.delete(item.scan));
      listed.set(item.scan, coming);
    }
    return listed.get(item.scan);
  }

  /** Bring the image that the reader has chosen onto the grid of `volume`, once. */
  async function addBeside(item, volume) {
    volume.others = await othersOf(item);
    const k = volume.others.findIndex((one) => one.words === view.second);
    if (k < 0 || volume.channels[`beside${k}`]) return;
    const answer = await ask(`/api/beside/${item.id}/${k}/${isWhole(item) ? "scan" : "block"}`);
    volume.channels[`beside${k}`] = unpack(await answer.arrayBuffer()).channels.beside;
  }

  /** The channel of the chosen image beside the scan; null where the scan has none. */
  function besideChannel() {
    const k = viewer.volume.others.findIndex((one) => one.words === view.second);
    return k >= 0 && viewer.volume.channels[`beside${k}`] ? `beside${k}` : null;
  }
  const secondChannel = () => besideChannel() || (view.second === "phase" && viewer.volume.channels.phase ? "phase" : null);

  async function showBeside(item, volume) {
    if (!["minip", "phase"].includes(view.second)) $("beside-said").textContent = "Loading";
    try {
      await addBeside(item, volume);
    } catch (error) {
      if (viewer.volume === volume) say(`${view.second} is not shown: ${error.message}.`);
    }
    if (viewer.volume !== volume) return;
    const { channels, note, others } = volume;
    const choices = [["minip", "Minimum projection"], ...(channels.phase ? [["phase", "Phase"]] : []), ...others.map((one) => [one.words, one.words])];
    $("beside").replaceChildren(...choices.map(([name, words]) => new Option(words, name)));
    const there = choices.some(([name]) => name === view.second);
    $("beside").value = there ? view.second : "minip";
    const missing = { phase: "phase", minip: "" }[view.second] ?? view.second;
    $("beside-said").textContent = there ? (others.find((one) => one.words === view.second) || { way: "" }).way : `This scan has no ${missing}.`;
    if (choices.length === 1) $("beside-said").textContent = note ? `Nothing else to show: ${note}.` : "Nothing else to show.";
    if (secondChannel()) draw();
  }

  function chooseSecond(name) {
    view.second = name;
    view.all = view.all && name !== "minip";
    hang();
    draw();
    return showBeside(current(), viewer.volume);
  }

  const volumeOf = (item) => (isWhole(item) ? scan(item.id, item.scan) : block(item.id));

  // --- the worklist ---

  const isOpen = (item) => (!item.state || item.state.decision === "note") && item.word?.quality !== "unusable";
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
    if (index !== view.index) view.whole = view.told = false;
    view.index = index;
    view.seen = false;
    document.body.dataset.busy = "";
    sidebar();
    const late = setTimeout(() => { $("loading").hidden = false; }, 120);
    try {
      const volume = await volumeOf(item);
      if (view.index !== index) return;
      const whole = isWhole(item), middle = volume.shape.map((n) => (n - 1) / 2);
      viewer.show(volume, item.mode === "free-hand" ? middle : volume.voxel(placeOf(item)), {
        field: whole ? null : BLOCK_MM, centred: !whole,
      });
      viewer.draw(() => {
        if (pressed !== null) window.reviewTimings.push(performance.now() - pressed);
        pressed = null;
        view.seen = true;
        view.shownAt = performance.now();
        document.body.dataset.shown = String(index);
        delete document.body.dataset.busy;
        showBeside(item, volume);
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
      volumeOf(coming).then((volume) => addBeside(coming, volume)).catch(() => {});
    }
  }

  function onward() {
    const next = nextOpen(view.index);
    if (next >= 0) return show(next);
    pressed = null;
    viewer.draw();
    ending();
    say("All is decided and saved. End the review with Ctrl-C where you started it; the next cmburden run counts with your decisions.", true);
  }

  // --- decisions ---

  const current = () => review.items[view.index];

  async function decide(action, more = {}) {
    const item = current();
    const state = item.state || {}, seconds = view.seen ? (performance.now() - view.shownAt) / 1000 : null;
    const kept = { note: state.note || "", certainty: state.certainty, region: state.region, hemisphere: state.hemisphere };
    const answer = await save("/api/decisions", { item: item.id, action, at: placeOf(item) || null, seconds, ...kept, ...more });
    if (answer && ["accept", "reject", "read"].includes(action)) paces.push(seconds);
    return answer;
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
    } else if (name === "microbleed") done = await decide("accept", { certainty: "definite" });
    else if (name === "possible") done = await decide("accept", { certainty: "possible" });
    else if (name === "read") return;
    else done = await decide("reject", { class: name || null, certainty: null });
    if (done) { progress(); onward(); }
  }

  async function move() {
    const item = current();
    if (!view.seen) return;
    const at = viewer.mm;
    if (item.mode === "free-hand") return;
    const action = isOpen(item) ? "note" : item.state.decision;
    if (await decide(action, { at, class: item.state ? item.state.class : null })) {
      say("Moved.", true);
      draw();
    }
  }

  async function addMark(certainty = "definite") {
    if (!view.seen) return;
    if (await decide("add", { at: viewer.mm, note: "", certainty, region: null, hemisphere: null })) {
      say(`Added at the point, ${certainty}.`, true);
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
    if (!viewer.holds(viewer.volume.voxel(mm))) {
      view.whole = true;
      await show(view.index);
    }
    viewer.point(viewer.volume.voxel(mm), { middle: !isWhole(current()) });
  }

  function nearestMark() {
    const here = viewer.mm, far = (m) => Math.hypot(...m.at.map((v, k) => v - here[k]));
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
    const left = lesions.filter(isOpen).length, minutes = Math.ceil((left * pace()) / 60);
    const rest = paces.length >= 5 && left ? `, ${pace().toFixed(0)} s each, about ${minutes} min left` : "";
    $("progress").textContent = `${lesions.length - left} of ${lesions.length} lesions decided${scans}${rest}`;
  }

  const middleOf = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] || 0;
  const pace = () => middleOf(paces.filter((s) => s !== null));

  const words = (name) => (review.classes.find((c) => c.name === name) || { words: name }).words;

  function verdict(item) {
    const state = item.state;
    if (item.mode === "free-hand") return state ? "Read" : "";
    if (!state || state.decision === "note") return "";
    if (state.decision === "accept") return `Accepted: microbleed${state.certainty === "possible" ? ", possible" : ""}`;
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

  const placed = (item) => {
    const { region, hemisphere } = item.state && item.state.region ? item.state : item;
    const by = item.state && item.state.region ? " (by you)" : "";
    return [hemisphere, region].filter((w) => w && w !== "unknown").join(" ") + by;
  };
  const kindOf = ({ decision, class: kind, certainty } = {}) => (decision === "accept" && certainty === "possible" ? "possible" : decision && decision !== "note" ? kind || "" : undefined);

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
      : placed(item);
    const soft = item.software;
    // What the software says sways the reader: it is told after the decision, or on demand.
    const told = view.told || !isOpen(item);
    $("software").hidden = !soft || !told;
    $("tell").hidden = !soft || told;
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
    const kind = kindOf(item.state || {});
    const choices = free
      ? [button("Scan read", "D", "read", !!item.state, "main")]
      : review.classes.map((c, k) => button(k ? c.words : "Microbleed, definite", k ? String(k + 1) : "A", c.name, kind === c.name, k ? "" : "yes"));
    if (!free) {
      choices.splice(1, 0, button("Microbleed, possible", "S", "possible", kind === "possible", "yes"), button("Not a microbleed", "R", "", kind === ""));
    }
    const had = document.activeElement && document.activeElement.dataset.choice;
    $("choices").replaceChildren(...choices);
    if (had !== undefined && had !== null) {
      const again = choices.find((b) => b.dataset.choice === had);
      if (again) again.focus({ preventScroll: true });
    }
    $("move").disabled = free;
    $("regions").hidden = free;
    $("region").value = (item.state && item.state.region) || "";
    $("side").value = (item.state && item.state.hemisphere) || item.hemisphere || "unknown";
    $("scan-form").classList.toggle("said", Object.values(item.word || {}).some(Boolean));
    const note = item.state ? item.state.note : "";
    $("note").hidden = !note;
    $("note").textContent = note;
    $("marks").hidden = !item.marks.length;
    $("marks").querySelector("ul").replaceChildren(
      ...item.marks.map((mark) => {
        const row = document.createElement("li"), at = document.createElement("span");
        const where = [mark.hemisphere, mark.region].filter((w) => w && w !== "unknown").join(" ") || "place unknown";
        at.textContent = `${where}${mark.certainty === "possible" ? ", possible" : ""}`;
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

  const boxes = [...document.querySelectorAll("#panes .pane")].map((figure) => ({
    key: figure.dataset.pane, plane: figure.dataset.pane === "second" ? "axial" : figure.dataset.pane,
    canvas: figure.querySelector("canvas"), caption: figure.querySelector("figcaption"),
    ...(figure.dataset.pane === "second"
      ? { projected: () => !secondChannel(), channel: () => secondChannel() || "magnitude" }
      : { channel: () => (view.all && secondChannel()) || "magnitude" }),
  }));
  for (const box of boxes) {
    box.words = (usual) => (viewer.channelOf(box) === "magnitude" ? usual : `${view.second === "phase" ? "Phase" : view.second}. ${usual}`);
  }
  const viewer = new Slices.Viewer(boxes, {
    rings: () => {
      const item = current(), marks = item.marks.map((mark) => ({ at: mark.at, colour: "#64d2ff", dashed: true }));
      return item.mode === "review" ? [{ at: placeOf(item), colour: "#ffb000" }, ...marks] : marks;
    },
    thickened: () => hang(),
    dragged: () => viewer.ruler && say(`${viewer.length.toFixed(1)} mm between the ends of the ruler.`, true),
  });
  viewer.usual = { magnitude: { low: 0, high: 1.8 }, phase: { low: 0, high: 1 } };
  for (let k = 0; k < MOST_OTHERS; k += 1) viewer.usual[`beside${k}`] = { low: 0, high: 1 };
  const draw = () => viewer.draw();

  function preset() {
    view.preset = (view.preset + 1) % WINDOWS.length;
    windowed();
    draw();
    say(`Window: ${WINDOWS[view.preset][0]}.`, true);
    hang();
  }
  function windowed() {
    const [, low, high] = WINDOWS[view.preset];
    viewer.contrast.magnitude = { low, high };
  }

  // --- how the reader likes the pictures, for the next sitting ---

  let hanging = null;
  function hang() {
    clearTimeout(hanging);
    const { slab, smooth, rings } = viewer, { second, preset: chosen } = view;
    const sent = { second, preset: chosen, slab, smooth, rings };
    hanging = setTimeout(() => ask("/api/hanging", sent).catch(() => {}), 400);
  }
  function hungAs(kept) {
    for (const name of HUNG) if (name in kept) (name in viewer ? viewer : view)[name] = kept[name];
    view.preset = WINDOWS[view.preset] ? view.preset : 0;
    viewer.cross = viewer.rings;
    if (view.preset) windowed();
  }

  function pick(tool) {
    viewer.tool = viewer.tool === tool ? "window" : tool;
    for (const one of document.querySelectorAll("[data-tool]")) one.setAttribute("aria-pressed", String(one.dataset.tool === viewer.tool));
    if (viewer.tool !== "ruler") viewer.ruler = null;
    draw();
  }
  for (const one of document.querySelectorAll("[data-tool]")) one.addEventListener("click", () => pick(one.dataset.tool));

  // --- the reader's word on region and scan ---

  async function correct() {
    const item = current(), name = $("region").value;
    document.activeElement.blur();  // the next key is to decide, not to choose another region
    const action = isOpen(item) ? "note" : item.state.decision;
    const more = { region: name || null, hemisphere: name ? $("side").value : null, class: item.state ? item.state.class : null };
    if (await decide(action, more)) say(name ? "Region corrected." : "The atlas's region.", true);
  }
  $("region").addEventListener("change", correct);
  $("side").addEventListener("change", () => $("region").value && correct());

  const cell = (text, name = "td") => Object.assign(document.createElement(name), { textContent: text });
  function line(cells, first = "th") {
    const row = document.createElement("tr");
    row.append(...cells.map((text, k) => cell(text, k ? "td" : first)));
    return row;
  }

  /** The MARS form of the scan in view, by this reader: definite and possible, right and left. */
  function marsRows(scanId) {
    const items = review.items.filter((one) => one.scan === scanId), counts = new Map();
    const count = (region, side, certainty) => {
      const key = `${region} ${side} ${certainty || "definite"}`;
      counts.set(key, (counts.get(key) || 0) + 1);
    };
    for (const item of items) {
      if (!item.state || item.state.decision !== "accept") continue;
      const where = item.state.region ? item.state : item;
      count(where.region, where.hemisphere, item.state.certainty);
    }
    for (const mark of items[0].marks) count(mark.region, mark.hemisphere, mark.certainty);
    const of = (name) => ["definite", "possible"].flatMap((c) => ["right", "left", "unknown"].map((s) => counts.get(`${name} ${s} ${c}`) || 0));
    return [...review.regions.map((one) => one.name), "unknown"].map((name) => [name, ...of(name)]);
  }

  function openForm() {
    const item = current(), word = item.word || {}, rows = marsRows(item.scan);
    $("form-scan").textContent = item.scan;
    for (const name of WORDS) $(name).value = word[name] ?? "";
    const totals = rows[0].map((_, k) => (k ? rows.reduce((sum, row) => sum + row[k], 0) : "Total"));
    $("mars").replaceChildren(...[...rows, totals].map((row) => line(row)));
    $("form").returnValue = "";
    $("form").showModal();
  }
  $("form").addEventListener("close", async () => {
    if ($("form").returnValue !== "save") return;
    const named = Object.fromEntries(WORDS.map((name) => [name, $(name).value.trim() || null]));
    if (named.siderosis_foci !== null) named.siderosis_foci = Number(named.siderosis_foci);
    if (await save("/api/decisions", { item: current().id, action: "scan", ...named })) {
      progress();
      sidebar();
      say("Said of the scan.", true);
    }
  });

  // --- the list and the mosaic ---

  const FILTERS = {
    all: () => true, open: isOpen, definite: (i) => kindOf(i.state || {}) === "microbleed", possible: (i) => kindOf(i.state || {}) === "possible",
    rejected: (i) => !!i.state && i.state.decision === "reject", noted: (i) => !!(i.state && i.state.note),
  };
  const wanted = () => {
    const text = $("find").value.trim().toLowerCase(), is = FILTERS[$("filter").value];
    return review.items.filter((i) => i.mode === "review" && !i.locked && is(i) && `${i.id + 1} ${i.scan} ${placed(i)}`.toLowerCase().includes(text));
  };
  function fillList() {
    const items = wanted();
    $("listed").replaceChildren(...items.slice(0, LISTED).map((item) => {
      const row = line([String(item.id + 1), item.scan, placed(item), verdict(item) || "open"]);
      const go = document.createElement("button");
      go.textContent = "Show";
      go.addEventListener("click", () => { $("list").close(); show(item.id); });
      row.append(cell(""));
      row.lastChild.append(go);
      return row;
    }));
    $("list-said").textContent = items.length > LISTED ? `${LISTED} of ${items.length} listed: filter them` : `${items.length} listed`;
  }
  $("find").addEventListener("input", fillList);
  $("filter").addEventListener("change", fillList);

  const chosen = new Set();
  let page = 0;
  async function fillMosaic() {
    const items = review.items.filter((i) => i.mode === "review" && !i.locked && isOpen(i)), pages = Math.max(1, Math.ceil(items.length / MOSAIC));
    page = Math.min(page, pages - 1);
    const here = items.slice(page * MOSAIC, (page + 1) * MOSAIC);
    $("mosaic-said").textContent = `${items.length} open, page ${page + 1} of ${pages}, ${chosen.size} marked`;
    $("reject-marked").disabled = !chosen.size;
    $("mosaic-back").disabled = !page;
    $("mosaic-on").disabled = page >= pages - 1;
    $("tiles").replaceChildren(...here.map((item) => {
      const tile = document.createElement("button"), canvas = document.createElement("canvas");
      tile.className = "mosaic-tile";
      tile.setAttribute("aria-pressed", String(chosen.has(item.id)));
      tile.append(canvas, `${item.id + 1} · ${placed(item)}`);
      tile.title = item.scan;
      tile.addEventListener("click", () => {
        if (!chosen.delete(item.id)) chosen.add(item.id);
        tile.setAttribute("aria-pressed", String(chosen.has(item.id)));
        $("mosaic-said").textContent = `${items.length} open, page ${page + 1} of ${pages}, ${chosen.size} marked`;
        $("reject-marked").disabled = !chosen.size;
      });
      tile.addEventListener("dblclick", () => { $("mosaic").close(); show(item.id); });
      const small = new Slices.Viewer([{ key: "axial", plane: "axial", canvas }], { rings: () => [{ at: placeOf(item), colour: "#ffb000" }] });
      Object.assign(small, { usual: viewer.usual, cross: false, letters: false });
      block(item.id).then((volume) => small.show(volume, volume.voxel(placeOf(item)), { field: 40 })).catch(() => { tile.append(" (no image)"); });
      return tile;
    }));
  }
  async function rejectMarked() {
    const items = [...chosen].slice(0, 60);
    if (!items.length) return;
    if (!(await save("/api/decisions", { items, action: "reject", class: null, item: items[0] }))) return $("mosaic").close();
    items.forEach((id) => chosen.delete(id));
    progress();
    await fillMosaic();
  }
  $("reject-marked").addEventListener("click", rejectMarked);
  $("mosaic-back").addEventListener("click", () => { page -= 1; fillMosaic(); });
  $("mosaic-on").addEventListener("click", () => { page += 1; fillMosaic(); });
  $("mosaic").addEventListener("close", () => { if (current() && !isOpen(current())) onward(); else sidebar(); });

  function ending() {
    const said = review.items.filter((i) => i.mode === "review"), kinds = new Map();
    for (const item of said) {
      const name = verdict(item) || "open";
      kinds.set(name, (kinds.get(name) || 0) + 1);
    }
    const marks = new Map(review.items.flatMap((i) => i.marks.map((m) => [`${i.scan} ${m.mark}`, m]))).size;
    const minutes = (performance.now() - began) / 60000;
    $("summary").replaceChildren(...[
      ...[...kinds].sort((a, b) => b[1] - a[1]), ["Added by you", marks], ["Decided since the page was opened", paces.length],
      ["Median seconds a case", pace().toFixed(1)], ["Minutes since the page was opened", minutes.toFixed(0)],
    ].map((row) => line(row)));
    if (!$("end").open) $("end").showModal();
  }

  // --- keys ---

  async function toggleWhole() {
    if (current().mode === "free-hand") return;
    const here = viewer.mm, pointed = viewer.pointed;
    view.whole = !view.whole;
    await show(view.index);
    if (pointed) viewer.point(viewer.volume.voxel(here));
    else viewer.cursor = viewer.inside(viewer.volume.voxel(here));
    draw();
  }

  const go = (step) => {
    const to = seek(view.index, step, () => true);
    if (to >= 0) show(to);
  };
  const AXIAL = Slices.PLANES.axial;
  const ACTIONS = {
    a: () => choose("microbleed"), s: () => choose("possible"), r: () => choose(""), d: () => choose("read"), m: move, n: () => addMark(), N: () => addMark("possible"), t: writeNote, u: undo,
    x: () => { const mark = nearestMark(); if (mark) removeMark(mark.mark); },
    g: () => { const first = seek(-1, 1, isOpen); if (first >= 0) show(first); },
    w: toggleWhole,
    p: () => {
      const names = [...$("beside").options].map((one) => one.value);
      if (names.length < 2) return say($("beside-said").textContent, true);
      return chooseSecond(names[(names.indexOf($("beside").value) + 1) % names.length]);
    },
    b: () => {
      if (!secondChannel()) return say("Choose an image beside the scan first (P).", true);
      view.all = !view.all;
      return draw();
    },
    y: () => { view.told = true; sidebar(); },
    o: () => { viewer.rings = viewer.cross = !viewer.rings; draw(); hang(); },
    i: () => { viewer.smooth = !viewer.smooth; draw(); hang(); },
    c: () => { viewer.centre = [...viewer.cursor]; draw(); },
    l: () => pick("ruler"), v: preset, f: openForm,
    k: () => { fillList(); $("list").showModal(); },
    z: () => { page = 0; $("mosaic").showModal(); fillMosaic(); },
    e: ending,
    "[": () => viewer.thicken(-2), "]": () => viewer.thicken(2),
    0: () => { const contrast = viewer.contrast; viewer.reset(); viewer.contrast = contrast; draw(); },
    "+": () => viewer.zoomBy(1.3), "=": () => viewer.zoomBy(1.3), "-": () => viewer.zoomBy(1 / 1.3),
    ArrowLeft: () => go(-1), ArrowRight: () => go(1), ArrowUp: () => viewer.scroll(AXIAL, 1), ArrowDown: () => viewer.scroll(AXIAL, -1),
    "?": () => $("help").showModal(), h: () => $("help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.altKey || event.target.closest("select, input, textarea")) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() === "z") { event.preventDefault(); undo(); }
      return;
    }
    const key = event.key === "N" ? "N" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const number = Number(key);
    const picked = number >= 1 && review.classes[number - 1];
    const action = picked ? () => choose(picked.name) : ACTIONS[key];
    if (!action || !current() || (!viewer.volume && key !== "?")) return;
    event.preventDefault();
    say("");
    pressed = event.timeStamp;
    action();
  });
  document.querySelectorAll("button[data-key]").forEach((b) => b.addEventListener("click", () => { say(""); ACTIONS[b.dataset.key](); }));
  $("choices").addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    pressed = event.timeStamp;
    choose(chosen.dataset.choice);
  });
  $("beside").addEventListener("change", () => {
    $("beside").blur();  // the next key is to decide, not to choose another image
    chooseSecond($("beside").value);
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

  (async () => {
    try {
      review = await (await ask("/api/overview")).json();
      $("region").append(...review.regions.map((one) => new Option(`${one.name} (${one.group})`, one.name)));
      hungAs(review.hanging);
      $("siderosis").append(...review.sideroses.map((name) => new Option(name, name)));
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
