import assert from "node:assert/strict";
import { test } from "node:test";

import { answerText, headerLines, requestOf } from "../../static/js/api-try.js";

const ORIGIN = "http://127.0.0.1:8000";

test("a call goes to this server, as the key and nobody else", () => {
  const { url, init } = requestOf({ method: "POST", type: "application/json", key: "1" }, { url: "/api/info", body: "{}", key: "wl_a" }, ORIGIN);
  assert.equal(url, `${ORIGIN}/api/info`);
  assert.deepEqual(init.headers, { "X-API-Key": "wl_a", "Content-Type": "application/json" });
  assert.deepEqual([init.method, init.body, init.credentials], ["POST", "{}", "omit"]);
});

test("a call that takes no key is not given one, and has no body", () => {
  const { init } = requestOf({ method: "GET", type: "" }, { url: "/healthz", body: undefined, key: "wl_a" }, ORIGIN);
  assert.deepEqual(init.headers, {});
  assert.equal("body" in init, false);
});

for (const url of ["https://evil.example/", "//evil.example/api/info", "http://127.0.0.1:9000/"]) {
  test(`a key does not go to ${url}`, () => {
    assert.throws(() => requestOf({ method: "GET", type: "", key: "1" }, { url, key: "wl_a" }, ORIGIN), /must begin with/);
  });
}

test("JSON is put into lines and keeps every character of its values", () => {
  assert.equal(answerText('{"a":[1.10,{}],"b":"x, {y}: \\"z\\"","c":[]}'), '{\n  "a": [\n    1.10,\n    {}\n  ],\n  "b": "x, {y}: \\"z\\"",\n  "c": []\n}');
});

test("what is no JSON object stays as it is", () => {
  for (const text of ["", "ok\n", "{broken", '{"a":1}\n{"a":2}\n', "7"]) assert.equal(answerText(text), text);
});

test("headers are told one a line", () => {
  assert.equal(headerLines(new Headers({ "Content-Type": "text/plain", "Cache-Control": "no-store" })), "cache-control: no-store\ncontent-type: text/plain");
});
