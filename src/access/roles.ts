// Who may do what, as an order: viewer ⊂ operator ⊂ admin. An agent stands outside it: it reaches its own session over the agent link and nothing here.

export const ROLES = ["viewer", "operator", "admin", "agent"] as const;
export type Role = (typeof ROLES)[number];

/** Least role that a part of the API asks for. */
export type NeededRole = Exclude<Role, "agent">;

const RANK: Readonly<Record<Role, number>> = { agent: 0, viewer: 1, operator: 2, admin: 3 };

/** Whether `role` includes `needed`. */
export function includesRole(role: Role, needed: NeededRole): boolean {
  return RANK[role] >= RANK[needed];
}
