import { runProcess } from "./run-process.ts";
import { startWorkerApp } from "./worker-app.ts";

await runProcess(async (config, log) => {
  const worker = await startWorkerApp(config, log);
  const { url: address } = worker;
  log.info({ address, workers: config.workers }, `Worker running, health checks listening on ${address}`);
  return worker;
});
