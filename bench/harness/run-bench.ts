import { StartupError } from "../../src/kernel/errors.ts";

/** Runs a bench. A StartupError is printed without a stack and sets exit code 1. */
export async function runBench(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

/**
 * Reads options by `read`.
 * @throws StartupError with the message of an error of `read` and the usage
 */
export function readOptions<T>(usage: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new StartupError(`${error instanceof Error ? error.message : error}\n${usage}`);
  }
}

/**
 * Parses the whole number of an option.
 * @throws StartupError when it is out of range
 */
export function parseInteger(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new StartupError(`--${name} must be a whole number from ${min} to ${max}.`);
}
