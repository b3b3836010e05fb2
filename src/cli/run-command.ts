import { AppError, StartupError } from "../kernel/errors.ts";

/** A command of `npm run`. */
export interface CommandLine<Options> {
  usage: string;
  /**
   * Reads the arguments. Returns undefined when help is requested.
   * @throws Error whose message names the wrong argument
   */
  readOptions(args: string[]): Options | undefined;
  run(options: Options): Promise<void>;
}

/**
 * Runs a command with the arguments of the process. A StartupError or an AppError is printed as one sentence without a
 * stack, and a wrong argument with the usage; both set exit code 1.
 */
export async function runCommand<Options>({ usage, readOptions, run }: CommandLine<Options>): Promise<void> {
  try {
    const options = parse(usage, readOptions);
    if (options === undefined) process.stdout.write(`${usage}\n`);
    else await run(options);
  } catch (error) {
    if (!(error instanceof StartupError || error instanceof AppError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

function parse<Options>(
  usage: string,
  readOptions: CommandLine<Options>["readOptions"],
): Options | undefined {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new StartupError(`${error.message}\n${usage}`);
  }
}
