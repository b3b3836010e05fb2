import { createLog } from "../../infra/log.ts";
import { runCommand } from "../run-command.ts";
import { withDatabase } from "../with-database.ts";
import { runAdminCommand } from "./admin-command.ts";
import { type AdminCommand, readAdminCommand, USAGE } from "./options.ts";
import { readPassword } from "./read-password.ts";

const log = createLog("warn", process.stderr);

async function run(command: AdminCommand): Promise<void> {
  const { message, output } = await withDatabase(log, (url) =>
    runAdminCommand(command, url, log, () => readPassword(process.stdin)),
  );
  // A secret is alone on standard output, so that a script can keep it.
  process.stderr.write(`${message}\n`);
  if (output !== undefined) process.stdout.write(`${output}\n`);
}

await runCommand({ name: "admin", usage: USAGE, readOptions: readAdminCommand, run });
