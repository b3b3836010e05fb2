import { createInterface } from "node:readline";
import { StartupError } from "../../kernel/errors.ts";

/**
 * Reads a password: the first line of the input. A password is never an argument, because every user of the machine
 * can list the arguments of a process.
 * @throws StartupError for a terminal, which would show the password
 */
export async function readPassword(input: NodeJS.ReadableStream & { isTTY?: boolean }): Promise<string> {
  if (input.isTTY === true) {
    throw new StartupError(
      "A terminal would show the password. Pipe it in, such as from a file: ... --password-stdin < FILE. Or omit --password-stdin to get a random one.",
    );
  }
  for await (const line of createInterface({ input })) return line;
  return "";
}
