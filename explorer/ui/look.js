/* The toolbar that sets how all maps are shown. */

class LookBar {
  constructor(parent) {
    this.root = element("form", { className: "look" });
    this.root.addEventListener("submit", (event) => event.preventDefault());
    this.root.addEventListener("input", ({ target }) => {
      if (target === this.cut) this.recommended.checked = false;
      this.show();
    });
    this.root.addEventListener("change", () => this.settle());
    parent.append(this.root);
  }

  /* Python's look counts when the bar appears; later it is an echo, perhaps late, of what the user has set. */
  update(data, setStateValue) {
    this.setStateValue = setStateValue;
    if (this.key === data.key) return;
    this.key = data.key;
    for (const [name, text] of Object.entries(data.tables)) store.tables[name] = colours(text);
    store.diverging = colours(data.diverging);
    this.build(data);
    this.show();
    this.settled = JSON.stringify(store.look);
  }

  build({ look, views, scales, tables }) {
    const select = (names, chosen) => element("select", {}, ...Object.entries(names).map(([value, textContent]) =>
      element("option", { value, textContent, selected: value === chosen })));
    const range = (value) => element("input", { type: "range", min: 0, max: 100, step: 1, value });
    const slider = (name, input, output, title) =>
      element("label", { className: "field slider", title }, element("span", { className: "name" }, name, output), input);
    this.views = Object.entries(views).map(([value, name]) => {
      const radio = element("input", { type: "radio", name: "view", value, checked: value === look.view });
      return { radio, label: element("label", {}, radio, element("span", { textContent: name })) };
    });
    const capitalised = Object.keys(tables).map((name) => [name, name[0].toUpperCase() + name.slice(1)]);
    this.colours = select(Object.fromEntries(capitalised), look.colour_map);
    this.scale = select(scales, look.scale);
    this.opacity = range(look.opacity);
    this.opacityText = element("span", { "aria-hidden": "true" });
    this.cut = range(look.cut ?? 80);
    this.cutText = element("span", { "aria-hidden": "true" });
    this.recommended = element("input", { type: "checkbox", checked: look.cut === null });
    this.root.replaceChildren(
      element("fieldset", { className: "field", title: "How each map is shown on its photograph" },
        element("legend", { className: "name", textContent: "View" }),
        element("div", { className: "segments" }, ...this.views.map(({ label }) => label))),
      element("label", { className: "field", title: "The colours that stand for the values from low to high" },
        element("span", { className: "name", textContent: "Colour map" }), this.colours),
      element("label", { className: "field", title: "Whether the colours run from 0 to 1 of each map, or over all maps of a method on this page in the method's own units" },
        element("span", { className: "name", textContent: "Scale" }), this.scale),
      slider("Opacity", this.opacity, this.opacityText, "How strongly the colours cover the photograph in the overlay"),
      element("div", { className: "cut", role: "group", "aria-label": "Cut" },
        slider("Area removed", this.cut, this.cutText, "The share of the crop that the cut removes, lowest values first"),
        element("label", { className: "check", title: "Cut each map where it is recommended for that map" },
          this.recommended, "Recommended for each map")));
  }

  show() {
    const view = this.views.find(({ radio }) => radio.checked).radio.value;
    const cut = this.recommended.checked ? null : Number(this.cut.value);
    this.opacityText.textContent = `${this.opacity.value}%`;
    this.cutText.textContent = cut === null ? "per map" : `${cut}%`;
    this.cut.classList.toggle("idle", cut === null);
    this.cut.setAttribute("aria-valuetext", cut === null ? "recommended for each map" : `${cut}%`);
    this.opacity.disabled = view !== "overlay" && view !== "wipe";
    this.scale.disabled = view === "cut" || view === "outline";
    this.colours.disabled = view === "signed" || this.scale.disabled;
    setLook({ view, colour_map: this.colours.value, opacity: Number(this.opacity.value), cut, scale: this.scale.value });
  }

  settle() {
    const settled = JSON.stringify(store.look);
    if (settled === this.settled) return;
    this.settled = settled;
    this.setStateValue("look", store.look);
  }

  destroy() {
    this.root.remove();
  }
}
