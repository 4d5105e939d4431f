// What a host's variables may say of the host itself: settings of its agent. Programs there do not get them.

export const HOST_SETTINGS = ["TRAINYARD_AGENT_ADDRESS", "TRAINYARD_AGENT_SHARED_DIR", "TRAINYARD_AGENT_CPUS"] as const;
export type HostSetting = (typeof HOST_SETTINGS)[number];

export interface DividedVariables {
  readonly settings: Readonly<Partial<Record<HostSetting, string>>>;
  /** For programs. */
  readonly variables: Readonly<Record<string, string>>;
}

export function dividedVariables(given: Readonly<Record<string, string>>): DividedVariables {
  const [settings, variables]: [Partial<Record<HostSetting, string>>, Record<string, string>] = [{}, {}];
  for (const [name, value] of Object.entries(given)) {
    if (isHostSetting(name)) settings[name] = value;
    else variables[name] = value;
  }
  return { settings, variables };
}

export function isHostSetting(name: string): name is HostSetting {
  return (HOST_SETTINGS as readonly string[]).includes(name);
}
