import { startApp } from "./app.ts";
import { printBanner } from "./banner.ts";
import { runProcess } from "./run-process.ts";

await runProcess(async (config, log) => {
  const app = await startApp(config, log);
  printBanner(app, config, log);
  return app;
});
