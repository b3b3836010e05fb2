import { readConfig, readDotEnv } from "../config.ts";
import { findDatabase } from "../find-database.ts";
import { createLog } from "../infra/log.ts";
import { migrate } from "../infra/migrate.ts";
import { faultOf } from "../infra/postgres-errors.ts";
import { AppError, StartError } from "../kernel/errors.ts";
import { entities } from "../schema.ts";
import { type Outcome, perform } from "./command.ts";
import { type Command, readOptions, USAGE } from "./options.ts";
import { readPassword } from "./password-input.ts";

const log = createLog("error", process.stdout.isTTY);

async function run(command: Command): Promise<Outcome> {
  const database = await findDatabase(readConfig({ ...readDotEnv(), ...process.env }), log);
  try {
    await migrate(database.url, entities, log);
    return await perform(command, database.url, log, () => readPassword(process.stdin));
  } catch (error) {
    if (error instanceof AppError) throw new StartError(error.message);
    const fault = faultOf(error);
    if (fault === undefined) throw error;
    throw new StartError(`The database does not do it: ${fault.message || fault.code}.`);
  } finally {
    await database.close();
  }
}

try {
  const command = readOptions(process.argv.slice(2));
  if (command === undefined) console.log(USAGE);
  else {
    const { said, secret } = await run(command);
    process.stderr.write(`${said}\n`);
    if (secret !== undefined) process.stdout.write(`${secret}\n`);
  }
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
