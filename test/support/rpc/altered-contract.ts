import {
  clearExtension,
  create,
  createFileRegistry,
  type DescMethod,
  type DescService,
  fromBinary,
  setExtension,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type Duration,
  DurationSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  type MethodDescriptorProto,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import {
  type MethodPolicy,
  method as methodOption,
  service as serviceOption,
} from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import { methodPolicy } from "../../../src/rpc/policy/method-policy.ts";

/** Returns a service whose file is altered. */
export function alterService<Desc extends DescService>(
  service: Desc,
  alter: (file: FileDescriptorProto) => void,
): Desc {
  const { file } = service;
  const proto = fromBinary(FileDescriptorProtoSchema, toBinary(FileDescriptorProtoSchema, file.proto));
  alter(proto);
  const registry = createFileRegistry(proto, (name) =>
    file.dependencies.find((dependency) => dependency.proto.name === name),
  );
  const altered = registry.getService(service.typeName);
  if (!isVersionOf(service, altered)) throw new Error(`${service.typeName} no longer exists`);
  return altered;
}

function isVersionOf<Desc extends DescService>(service: Desc, other: DescService | undefined): other is Desc {
  return other?.typeName === service.typeName;
}

/**
 * Returns a service with another policy for one method: the changed one, or the one that `change` returns. Every
 * method gets its effective policy as its own, so that the changed one inherits nothing.
 */
export function withPolicy<Desc extends DescService>(
  service: Desc,
  methodName: string,
  change: (policy: MethodPolicy, method: MethodDescriptorProto) => MethodPolicy | undefined,
): Desc {
  return alterService(service, (file) => {
    const proto = file.service.find(({ name }) => name === service.name);
    if (proto?.options !== undefined) clearExtension(proto.options, serviceOption);
    for (const method of proto?.method ?? []) {
      const descriptor = service.methods.find(({ name }) => name === method.name);
      const policy = descriptor && methodPolicy(descriptor);
      if (policy === undefined) throw new Error(`${method.name} has no policy`);
      method.options ??= create(MethodOptionsSchema);
      const changed = method.name === methodName ? change(policy, method) : undefined;
      setExtension(method.options, methodOption, changed ?? policy);
    }
  });
}

/** Returns the first method of a service, which must be of this kind. */
export function firstMethod<Kind extends DescMethod["methodKind"]>(kind: Kind, service: DescService) {
  const [method] = service.methods;
  const isOfKind = (method: DescMethod): method is DescMethod & { methodKind: Kind } =>
    method.methodKind === kind;
  if (method === undefined || !isOfKind(method)) throw new Error(`no ${kind} method`);
  return method;
}

/** Returns a protobuf duration. */
export function toDuration(milliseconds: number): Duration {
  return create(DurationSchema, {
    seconds: BigInt(Math.floor(milliseconds / 1_000)),
    nanos: (milliseconds % 1_000) * 1_000_000,
  });
}
