import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { file_google_rpc_error_details } from "../../../gen/google/rpc/error_details_pb.ts";
import { Health } from "../../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { untilAborted } from "../call/until-aborted.ts";

/** What may be asked; both versions have the same shape. */
type Question =
  | { case: "fileByFilename" | "fileContainingSymbol" | "allExtensionNumbersOfType"; value: string }
  | { case: "fileContainingExtension"; value: { containingType: string; extensionNumber: number } }
  | { case: "listServices"; value: string }
  | { case: undefined; value?: undefined };

type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string; extensionNumber: number[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: Code; errorMessage: string } };

export interface ReflectionOptions {
  services: readonly DescService[];
  /** Takes from the caller's budget what one answer costs. @throws AppError exhausted */
  charge(context: HandlerContext): Promise<void>;
  draining: AbortSignal;
}

/**
 * grpc.reflection v1 and v1alpha for these services, the health service, themselves, and all that their files import.
 * Answers are a thousand times as long as questions, so that each is paid for, not each stream.
 */
export function registerReflection(
  router: ConnectRouter,
  { services, charge, draining }: ReflectionOptions,
): void {
  const index = new Index([...services, Health, ServerReflection, ServerReflectionAlpha]);
  router.service(ServerReflection, {
    async *serverReflectionInfo(requests, context) {
      for await (const request of untilAborted(requests, draining)) {
        await charge(context);
        const messageResponse = index.answer(request.messageRequest);
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  });
  router.service(ServerReflectionAlpha, {
    async *serverReflectionInfo(requests, context) {
      for await (const request of untilAborted(requests, draining)) {
        await charge(context);
        const messageResponse = index.answer(request.messageRequest);
        yield { validHost: request.host, originalRequest: request, messageResponse };
      }
    },
  });
}

/** What can be found, and the files that it is in. */
class Index {
  readonly #services: string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  readonly #extensions = new Map<string, Map<number, DescFile>>();
  /** Encoded once, with all their imports. */
  readonly #encoded = new Map<DescFile, Uint8Array>();

  constructor(services: readonly DescService[]) {
    this.#services = services.map((service) => service.typeName).sort();
    for (const service of services) this.#addFile(service.file);
    // No method names them, but every error can carry them.
    this.#addFile(file_google_rpc_error_details);
  }

  answer(question: Question): Answer {
    switch (question.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: this.#services.map((name) => ({ name })) },
        };
      case "fileByFilename":
        return this.#file(this.#files.get(question.value), `file ${question.value}`);
      case "fileContainingSymbol":
        return this.#file(this.#symbols.get(withoutDot(question.value)), `symbol ${question.value}`);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = question.value;
        const file = this.#extensions.get(withoutDot(containingType))?.get(extensionNumber);
        return this.#file(file, `extension ${extensionNumber} of ${containingType}`);
      }
      case "allExtensionNumbersOfType": {
        const numbers = this.#extensions.get(withoutDot(question.value));
        if (numbers === undefined) return notFound(`message ${question.value}`);
        const extensionNumber = [...numbers.keys()];
        return {
          case: "allExtensionNumbersResponse",
          value: { baseTypeName: question.value, extensionNumber },
        };
      }
      default:
        return refusal(Code.InvalidArgument, "The request asks for nothing that is known here.");
    }
  }

  #file(file: DescFile | undefined, what: string): Answer {
    if (file === undefined) return notFound(what);
    const fileDescriptorProto = withImports(file).map((part) => this.#encode(part));
    return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
  }

  #encode(file: DescFile): Uint8Array {
    const known = this.#encoded.get(file);
    if (known !== undefined) return known;
    const encoded = toBinary(FileDescriptorProtoSchema, file.proto);
    this.#encoded.set(file, encoded);
    return encoded;
  }

  #addFile(file: DescFile): void {
    for (const part of withImports(file)) {
      if (this.#files.has(part.proto.name)) continue;
      this.#files.set(part.proto.name, part);
      this.#addSymbols(part);
    }
  }

  #addSymbols(file: DescFile): void {
    for (const type of nestedTypes(file)) {
      this.#symbols.set(type.typeName, file);
      switch (type.kind) {
        case "message":
          this.#extensionsOf(type.typeName);
          for (const member of [...type.fields, ...type.oneofs]) {
            this.#symbols.set(`${type.typeName}.${member.name}`, file);
          }
          break;
        case "enum": {
          // The values of an enum are siblings of its name.
          const scope = type.typeName.slice(0, type.typeName.length - type.name.length);
          for (const value of type.values) this.#symbols.set(`${scope}${value.name}`, file);
          break;
        }
        case "extension":
          this.#extensionsOf(type.extendee.typeName).set(type.number, file);
          break;
        case "service":
          for (const method of type.methods) this.#symbols.set(`${type.typeName}.${method.name}`, file);
          break;
      }
    }
  }

  #extensionsOf(typeName: string): Map<number, DescFile> {
    const known = this.#extensions.get(typeName) ?? new Map<number, DescFile>();
    this.#extensions.set(typeName, known);
    return known;
  }
}

/** A file and all that it imports, itself first, each once. */
function withImports(file: DescFile): DescFile[] {
  const files = new Set([file]);
  // A set that grows is walked to its new end.
  for (const part of files) for (const dependency of part.dependencies) files.add(dependency);
  return [...files];
}

function withoutDot(name: string): string {
  return name.startsWith(".") ? name.slice(1) : name;
}

function notFound(what: string): Answer {
  return refusal(Code.NotFound, `There is no ${what} here.`);
}

function refusal(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}
