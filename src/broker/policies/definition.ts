/** What a policy says: values by key, as JSON has them. */
export type Definition = ReadonlyMap<string, DefinitionValue>

export type DefinitionValue = string | number | boolean
