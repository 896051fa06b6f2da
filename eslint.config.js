import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: [".venv/", "data/", "node_modules/", "staticfiles/"] },
  js.configs.recommended,
  {
    files: ["static/**/*.js", "realtime/static/**/*.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.browser },
  },
  {
    files: ["tests/**/*.{js,mjs}", "bench/**/*.{js,mjs}", "eslint.config.js"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: globals.node },
  },
  {
    rules: {
      eqeqeq: "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-undef": "error",
      "no-unused-vars": "error",
      "no-var": "error",
      "prefer-const": "error",
      // Text of people never becomes markup.
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Use textContent or a <template>." },
        { property: "outerHTML", message: "Use textContent or a <template>." },
        { property: "insertAdjacentHTML", message: "Use textContent or a <template>." },
      ],
    },
  },
];
