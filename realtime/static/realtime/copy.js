// Buttons that copy a field: <button data-copy="id of the field">.

const TOLD_MS = 2000;

async function copy(field) {
    field.select();
    // The clipboard is there on https and localhost only; elsewhere the old way still works.
    if (navigator.clipboard) {
        await navigator.clipboard.writeText(field.value);
        return true;
    }
    return document.execCommand("copy");
}

async function onClick(event) {
    const button = event.target.closest("[data-copy]");
    if (!button) {
        return;
    }
    const field = document.getElementById(button.dataset.copy);
    const copied = await copy(field).catch(() => false);
    // The field stays selected: what could not be copied by the button is copied by the keyboard.
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, TOLD_MS);
}

document.addEventListener("click", onClick);
