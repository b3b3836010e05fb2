import { createLog } from "../../infra/log.ts";
import { AppError, StartupError } from "../../kernel/errors.ts";
import { formatCount } from "../format-count.ts";
import { createProgressBar } from "../progress-bar.ts";
import { runCommand } from "../run-command.ts";
import { withDatabase } from "../with-database.ts";
import { readOptions, type SeedCounts, USAGE } from "./options.ts";
import { type SeedResult, seedShop } from "./seed-shop.ts";

const log = createLog("warn", process.stderr);
const RESUME_HINT = "Everything added so far is complete. Run the command again to continue.";

async function seed(counts: SeedCounts): Promise<void> {
  const progress = createProgressBar(process.stdout);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      progress.stop();
      process.stderr.write(`\nInterrupted. ${RESUME_HINT}\n`);
      // An embedded PostgreSQL that was started here ends with this process.
      process.exit(1);
    });
  }
  try {
    const result = await withDatabase(log, (url) =>
      seedShop({
        ...counts,
        url,
        onProgress: ({ step, done, total }) =>
          progress.update({ done, total, label: `${formatCount(done)} of ${formatCount(total)} ${step}` }),
      }),
    );
    progress.stop();
    process.stdout.write(`${summarize(result)}\n`);
  } catch (error) {
    progress.stop();
    if (!(error instanceof StartupError || error instanceof AppError)) throw error;
    throw new StartupError(`Seeding stopped. ${error.message} ${RESUME_HINT}`);
  }
}

function summarize({ products, customers, orders, purchases, productsMs, ms }: SeedResult): string {
  const seconds = (ms / 1_000).toFixed(1);
  if (products + customers === 0) return `Nothing to add: all data exists (${seconds} s).`;
  const rate = products > 0 ? `, ${formatCount(Math.round((products / productsMs) * 1_000))} products/s` : "";
  const counts = Object.entries({ products, customers, orders, purchases });
  const added = counts.map(([noun, count]) => `${formatCount(count)} ${noun}`).join(", ");
  return `Added ${added} in ${seconds} s${rate}.`;
}

await runCommand({ name: "seed", usage: USAGE, readOptions, run: seed });
