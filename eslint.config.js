// What the compiler cannot see: promises nobody waits for, forbidden calls, the direction of imports. Formatting is no business of this file.
import { fileURLToPath } from "node:url";
import tseslint from "typescript-eslint";
import { importDirection } from "./scripts/lint/import-direction.js";

const root = fileURLToPath(new URL(".", import.meta.url));
const sourceRoot = fileURLToPath(new URL("src", import.meta.url));

const NO_ENVIRONMENT = {
  // PATH is no setting of ours: it is how programs are found.
  selector: "MemberExpression[object.name='process'][property.name='env']:not(MemberExpression[property.value='PATH'] > MemberExpression)",
  message: "Only src/config.ts and the entry point read the environment: take the value from the configuration that is passed down.",
};
const FORBIDDEN = [
  { selector: "Property[key.name='shell'][value.value=true]", message: "No shell: start programs as an argv." },
  { selector: "Property[key.name='rejectUnauthorized'][value.value=false]", message: "TLS is always verified: pass the authority's certificate (TRAINYARD_CA_FILE) instead." },
  { selector: "Literal[value='NODE_TLS_REJECT_UNAUTHORIZED']", message: "TLS is always verified: pass the authority's certificate (TRAINYARD_CA_FILE) instead." },
  { selector: "MemberExpression[object.name='sql'][property.name='raw']", message: "sql.raw puts text into a statement: use parameters, sql.ref, sql.table or sql.lit on a constant." },
];
const DEFAULT_EXPORT = { selector: "ExportDefaultDeclaration", message: "Export by name: one word for one thing, everywhere." };
const SWITCHED_OFF_TEST = {
  selector: "MemberExpression[object.name=/^(test|it|describe)$/][property.name=/^(only|skip|todo)$/]",
  message: "No test is switched off or alone. Where a program is missing use skipIf, and let the global setup say so aloud.",
};
const SHELL_CALLS = { name: "node:child_process", importNames: ["exec", "execSync"], message: "These go through a shell: use spawn or execFile with an argv." };

export default tseslint.config(
  { ignores: ["dist/", "node_modules/", "coverage/", ".trainyard/", "**/*.d.ts"] },
  {
    files: ["**/*.{ts,js,mjs}"],
    extends: [tseslint.configs.base],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-constant-condition": ["error", { checkLoops: false }],
      "no-debugger": "error",
      "no-dupe-else-if": "error",
      "no-duplicate-imports": ["error", { allowSeparateTypeImports: true }],
      "no-fallthrough": "error",
      "no-loss-of-precision": "error",
      "no-self-assign": "error",
      "no-self-compare": "error",
      "no-sparse-arrays": "error",
      "no-template-curly-in-string": "off", // `${stages.…}` is our own syntax
      "no-unsafe-finally": "error",
      "no-useless-catch": "error",
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
      "valid-typeof": "error",
      "no-restricted-imports": ["error", { paths: [SHELL_CALLS, { ...SHELL_CALLS, name: "child_process" }] }],
      "no-restricted-syntax": ["error", ...FORBIDDEN],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", caughtErrors: "none", ignoreRestSiblings: true }],
    },
  },
  {
    files: ["**/*.ts"],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: root } },
    rules: {
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/ban-ts-comment": "error",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports", disallowTypeAnnotations: false }],
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: { arguments: true, attributes: true, properties: true, returns: true, variables: true } }],
      "@typescript-eslint/only-throw-error": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    files: ["src/**/*.ts"],
    plugins: { trainyard: { rules: { "import-direction": importDirection } } },
    rules: { "trainyard/import-direction": ["error", { sourceRoot }], "no-restricted-syntax": ["error", ...FORBIDDEN, DEFAULT_EXPORT, NO_ENVIRONMENT], "no-console": "error" },
  },
  // Entry points read the environment once and hand it down; failpoints are armed by tests alone.
  { files: ["src/config.ts", "src/failpoints.ts", "src/cli/main.ts", "src/**/*.worker.ts", "src/**/*.program.ts"], rules: { "no-restricted-syntax": ["error", ...FORBIDDEN, DEFAULT_EXPORT] } },
  // Migrations are frozen: what they use would change under them.
  {
    files: ["migrations/**/*.{ts,js,mjs}"],
    rules: { "no-restricted-syntax": ["error", ...FORBIDDEN, { selector: "ImportDeclaration, ImportExpression", message: "A migration imports nothing." }] },
  },
  // What an API answers is `any` to a test that asks it.
  { files: ["tests/**/*.ts"], rules: { "no-restricted-syntax": ["error", ...FORBIDDEN, SWITCHED_OFF_TEST], "@typescript-eslint/no-explicit-any": "off" } },
);
