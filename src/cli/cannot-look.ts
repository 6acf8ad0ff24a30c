/** Something prevents a command from examining the process at all. */
export class CannotLook extends Error {}
