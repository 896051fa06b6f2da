// The word beside the password that shows it.
const button = document.getElementById("show-password");
const field = document.getElementById("id_password");

button.addEventListener("click", () => {
  const show = field.type === "password";
  field.type = show ? "text" : "password";
  button.textContent = show ? "hide" : "show";
  button.setAttribute("aria-pressed", String(show));
  field.focus();
});
