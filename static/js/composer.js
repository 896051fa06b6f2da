// The field in which one writes. The draft is kept for each stream; Enter sends, Shift+Enter starts a new line.

import { setText } from "./page.js";
import { read, remove, write } from "./storage.js";
import { excessOf } from "./words.js";

const LINES = 8;
const LINE_PX = 21;

export class Composer {
  #form;
  #field;
  #note;
  #draftKey;

  constructor(form, page, send) {
    this.#form = form;
    this.#field = form.elements.text;
    this.#note = form.querySelector(".composer-note");
    this.#draftKey = `wirelog.draft.${page.principal}.${page.stream}`;
    if (this.#field.value === "") this.#field.value = read(this.#draftKey) ?? "";
    form.noValidate = true;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(send);
    });
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    this.#measure();
  }

  get text() {
    return this.#field.value.trim();
  }

  focus() {
    this.#field.focus();
  }

  // A text that could not be sent comes back, before what is there.
  take(text) {
    this.#field.value = this.#field.value === "" ? text : `${text}\n${this.#field.value}`;
    this.#changed();
    this.focus();
  }

  #key(event) {
    // While a word is being composed (Japanese, for one), Enter belongs to the input method.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.#form.requestSubmit();
    } else if (event.key === "Escape") {
      this.#field.blur();
    }
  }

  #send(send) {
    const { text } = this;
    if (text === "" || this.#measure() !== "") return;
    this.#field.value = "";
    this.#changed();
    send(text);
  }

  #changed() {
    if (this.#field.value === "") remove(this.#draftKey);
    else write(this.#draftKey, this.#field.value);
    this.#measure();
  }

  // Says what is too large before it is sent.
  #measure() {
    this.#grow();
    const excess = excessOf({ text: this.text }, Number(this.#field.dataset.largest));
    setText(this.#note, excess);
    this.#form.querySelector("[type=submit]").disabled = excess !== "";
    return excess;
  }

  // `field-sizing: content` does it where browsers have it.
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${Math.min(this.#field.scrollHeight, LINES * LINE_PX + 10)}px`;
  }
}
