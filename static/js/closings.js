// Why a connection or a subscription has ended for good, as a sentence and a way on. Codes of realtime/errors.py.

const RELOAD = { label: "Reload", href: "" };
const STREAMS = { label: "Go to the streams", href: "/" };

const CLOSED = {
  1009: ["The message was too large", "The server takes no message of this size. Reload the page, and send less at a time."],
  3500: ["The key is not valid", "The server did not accept the credentials of this page. Reload it to use your session."],
  3501: ["You are not connected", "The server does not know who you are, or did not understand this page. Reload it, and sign in if asked."],
  3502: ["You are not connected", "This page took too long to say who it is. Reload it."],
  3504: ["Too many connections", "You have as many connections open as the server allows. Close some tabs, then reload this page."],
  3507: ["This address is not allowed", "The server was opened under a host name that it does not serve. The operator can allow it (ALLOWED_HOSTS)."],
  3509: ["Too many errors", "The server ended the connection since it could not understand this page. Reload it."],
};

const UNSUBSCRIBED = {
  102: ["This stream is not there", "It was removed, or you may no longer read it: the two look the same."],
  103: ["You may not read this stream", "A member or an operator can give you the right."],
  106: ["Too many streams at once", "This tab reads as many streams as the server allows. Close some, then reload."],
  2403: ["You no longer have access to this stream", "Your right to read it has just ended. What you see here was sent before."],
  2404: ["This stream has ended", "It was archived or removed. What you see here was sent before."],
};

export const SIGNED_OUT = 4501;
// Said of a credential: worth asking whether the session is still there.
const CREDENTIAL = new Set([SIGNED_OUT, 3500, 3501]);
export const isCredential = (code) => CREDENTIAL.has(code);

export const SOMEBODY_ELSE = {
  heading: "You are signed in as somebody else now",
  text: "Another tab of this browser has changed the account. Reload this page to go on with that one.",
  action: RELOAD,
};

export function closed(code) {
  const [heading, text] = CLOSED[code] ?? ["You are not connected", `The server ended the connection (code ${code}). Reload the page.`];
  return { heading, text, action: RELOAD };
}

export function unsubscribed(code) {
  const [heading, text] = UNSUBSCRIBED[code] ?? ["This view has ended", `The server ended it (code ${code}). Reload the page.`];
  return { heading, text, action: code in UNSUBSCRIBED ? STREAMS : RELOAD };
}

export function signedOut(path) {
  const href = `/accounts/login/?next=${encodeURIComponent(path)}`;
  return { heading: "You were signed out", text: "Sign in again to go on. What waits to be sent is kept in this browser.", action: { label: "Sign in", href } };
}
