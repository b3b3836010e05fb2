import { logUnknownVariables } from "../config/unknown-variables.ts";
import { type LoadedConfig, loadConfig } from "../config.ts";
import type { Log } from "../kernel/log.ts";

/**
 * Reads the configuration as the service does, and logs the names of variables that seem to be misspelled.
 * @throws StartupError that names all mistakes
 */
export function loadCommandConfig(log: Log): Omit<LoadedConfig, "unknownVariables"> {
  const { config, env, unknownVariables } = loadConfig();
  logUnknownVariables(unknownVariables, log);
  return { config, env };
}
