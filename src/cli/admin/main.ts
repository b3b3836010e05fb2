import { readConfig, readDotEnv } from "../../config.ts";
import { entities } from "../../entities.ts";
import { createLog } from "../../infra/log.ts";
import { migrate } from "../../infra/postgres/migrate.ts";
import { readPostgresError } from "../../infra/postgres/postgres-errors.ts";
import { AppError, StartupError } from "../../kernel/errors.ts";
import { findDatabase } from "../resolve-database-url.ts";
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
    if (error instanceof AppError) throw new StartupError(error.message);
    const fault = readPostgresError(error);
    if (fault === undefined) throw error;
    throw new StartupError(`The database does not do it: ${fault.message || fault.code}.`);
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
  if (!(error instanceof StartupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
