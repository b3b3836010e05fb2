import { createInterface } from "node:readline";
import { StartupError } from "../../kernel/errors.ts";

/**
 * The first line of the input. Passwords are never arguments: those are seen by everybody on the machine.
 * @throws StartError for a terminal, on which everybody would see it
 */
export async function readPassword(input: NodeJS.ReadableStream & { isTTY?: boolean }): Promise<string> {
  if (input.isTTY === true) {
    throw new StartupError(
      "A terminal shows what is typed. Pipe the password in, such as from a file: ... --password-stdin < FILE. Or leave --password-stdin out, and one is made up.",
    );
  }
  for await (const line of createInterface({ input })) return line;
  return "";
}
