/**
 * A check, the resource of the breach that it must find, and statements that change the data without the service, after
 * they have removed the constraint or trigger that prevents the change. `:order` and the like are ids.
 */
export type NegativeControl = readonly [check: string, resource: string, ...statements: string[]];
