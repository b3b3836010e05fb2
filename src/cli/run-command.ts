import { AppError, errorCode, StartupError } from "../kernel/errors.ts";

/** A command of `npm run`. */
export interface CommandLine<Options> {
  /** Its name after `npm run`. */
  name: string;
  usage: string;
  /**
   * Reads the arguments. Returns undefined when help is requested.
   * @throws Error whose message names the wrong argument
   */
  readOptions(args: string[]): Options | undefined;
  run(options: Options): Promise<void>;
}

/**
 * Runs a command with the arguments of the process. A StartupError or an AppError is printed without a stack, and sets
 * exit code 1, as a wrong argument does.
 */
export async function runCommand<Options>(command: CommandLine<Options>): Promise<void> {
  try {
    const options = parse(command);
    if (options === undefined) process.stdout.write(`${command.usage}\n`);
    else await command.run(options);
  } catch (error) {
    if (!(error instanceof StartupError || error instanceof AppError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

function parse<Options>({ name, readOptions }: CommandLine<Options>): Options | undefined {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new StartupError(`${formatArgumentError(error)}\nFor all options: npm run ${name} -- --help`);
  }
}

/** Returns the message of an error; of one of `parseArgs`, without its advice about arguments that begin with a dash. */
function formatArgumentError(error: Error): string {
  if (!errorCode(error).startsWith("ERR_PARSE_ARGS_")) return error.message;
  const [message = ""] = error.message.split(/\.\n|\. To specify /, 1);
  return `${message}.`;
}
