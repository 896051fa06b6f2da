// The principal of this session; "" when it has ended, or when nobody answers.
export async function whoAmI() {
  try {
    const response = await fetch("/accounts/whoami/", { headers: { accept: "application/json" } });
    return response.ok ? (await response.json()).principal : "";
  } catch {
    return "";
  }
}
