import { StartupError } from "../../kernel/errors.ts";

/**
 * Returns the name of a command.
 * @param parsed from `parseArgs`
 * @param commands the names of the options of each command
 * @param group the word before the commands; empty for none
 * @throws StartupError for an unknown command, or an option of another command
 */
export function readCommandName(
  { values, positionals: [name = "", ...others] }: { values: object; positionals: readonly string[] },
  commands: ReadonlyMap<string, readonly string[]>,
  group = "",
): string {
  const allowed = commands.get(name);
  if (allowed === undefined || others.length > 0) {
    const expected = group === "" ? "one command" : `one command after ${group}`;
    throw new StartupError(`Expected ${expected}: ${[...commands.keys()].join(", ")}.`);
  }
  const unknown = Object.keys(values).find((option) => !allowed.includes(option));
  if (unknown !== undefined) {
    throw new StartupError(`--${unknown} is not an option of ${`${group} ${name}`.trim()}.`);
  }
  return name;
}
