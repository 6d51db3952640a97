// The files that were chosen, and the variable that they are for.
export const chosen = { files: [], place: 'input.files' }
