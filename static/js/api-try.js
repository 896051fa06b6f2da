// What a form of the documentation asks for, and what came of it, as text. Without the DOM, for the tests.

// Only this server: a key must not go anywhere else because an address was mistyped.
export function requestOf({ method, type, key: withKey }, { url, body, key }, origin = location.origin) {
  const target = new URL(url, origin);
  if (target.origin !== origin) throw new Error("the address must begin with /");
  const headers = {};
  if (withKey && key) headers["X-API-Key"] = key;
  if (type) headers["Content-Type"] = type;
  // Without the cookie: the call is made as the key, not as who is signed in.
  const init = { method, headers, credentials: "omit", redirect: "error", cache: "no-store" };
  return { url: target.href, init: type ? { ...init, body: body ?? "" } : init };
}

export const headerLines = (headers) => [...headers].map(([name, value]) => `${name}: ${value}`).join("\n");

// A method tells of its errors with status 200.
export const tellsError = (text) => text.startsWith('{"error":');

// JSON with a line for each value. Only white space is added: numbers stay as the server wrote them.
export function answerText(text) {
  if (!isJson(text)) return text;
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  return text.replace(/"(?:[^"\\]|\\.)*"|\{\}|\[\]|[{}[\],:]/g, (part) => {
    if (part === "{" || part === "[") {
      depth += 1;
      return part + line();
    }
    if (part === "}" || part === "]") {
      depth -= 1;
      return line() + part;
    }
    if (part === ",") return part + line();
    return part === ":" ? ": " : part;
  });
}

function isJson(text) {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}
