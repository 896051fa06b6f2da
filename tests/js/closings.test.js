import assert from "node:assert/strict";
import { test } from "node:test";
import { SOMEBODY_ELSE, closed, isCredential, signedOut, unsubscribed } from "../../static/js/closings.js";

const sentence = ({ heading, text, action }) => heading.length > 0 && text.endsWith(".") && action.label.length > 0;

for (const code of [1009, 4501, 3500, 3501, 3502, 3504, 3507, 3508, 3509, 4599]) {
  test(`close ${code} has a sentence and a way on`, () => assert.ok(sentence(closed(code))));
}
for (const code of [102, 103, 106, 2403, 2404, 2499]) {
  test(`unsubscribe ${code} has a sentence and a way on`, () => assert.ok(sentence(unsubscribed(code))));
}

test("credentials are asked about, anything else is not", () => {
  assert.deepEqual([4501, 3500, 3501, 3504, 3001].map(isCredential), [true, true, true, false, false]);
});

test("another account has a sentence and a way on", () => assert.ok(sentence(SOMEBODY_ELSE)));

test("an unknown code is named", () => assert.match(closed(4599).text, /4599/));
test("signing in leads back to the page", () => {
  assert.equal(signedOut("/s/lobby/?view=raw").action.href, "/accounts/login/?next=%2Fs%2Flobby%2F%3Fview%3Draw");
});
