import { expect, test } from "vitest";
import { createAccounts } from "../../src/data/accounts.js";

test("rows are counted by input and reason", () => {
  const accounts = createAccounts(2);
  for (const source of [0, 0, 0, 1]) accounts.read(source);
  accounts.keep(0);
  accounts.reject(0, "INVALID_JSON");
  accounts.drop(0, "DUPLICATE");
  accounts.drop(1, "DUPLICATE");
  accounts.assertBalanced();
  expect(accounts.ofInput(0)).toEqual({ rows: 3, kept: 1, rejected: { INVALID_JSON: 1 }, dropped: { DUPLICATE: 1 } });
  expect(accounts.totals()).toEqual({ rows: 4, kept: 1, rejected: 1, dropped: 2, reasons: { DUPLICATE: 2, INVALID_JSON: 1 } });
});

test("an unexplained row, or one that is counted twice, is a bug that shows", () => {
  const accounts = createAccounts(2);
  accounts.read(0);
  expect(() => accounts.assertBalanced()).toThrow("Input 1: 1 rows were read and 0 are accounted for");
  accounts.keep(0);
  accounts.assertBalanced();
  accounts.drop(1, "DUPLICATE");
  expect(() => accounts.assertBalanced()).toThrow("Input 2: 0 rows were read and 1 are accounted for");
});
