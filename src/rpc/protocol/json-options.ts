/** Responses in JSON contain every field, and requests with an unknown field are rejected: a typo is an error. */
export const jsonOptions = { alwaysEmitImplicit: true, ignoreUnknownFields: false };
