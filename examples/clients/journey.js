// What every program here does, whatever its client: the operations, pictures to send, and lines to print.
import { Session } from './session.js'

export const CREATE = `mutation CreateDataset($name: String!) {
  createDataset(input: { name: $name }) { __typename ... on Dataset { id name } ... on Problem { message } }
}`

export const UPLOAD = `mutation Upload($dataset: ID!, $files: [Upload!]!) {
  uploadImages(input: { datasetId: $dataset, files: $files }) {
    __typename
    ... on UploadReport { files {
      __typename filename ... on UploadedImage { image { id } } ... on RejectedFile { message }
    } }
    ... on Problem { message }
  }
}`

export const RUN = `mutation Run($dataset: ID!) {
  runClassification(input: { target: { datasetId: $dataset } }) {
    __typename ... on Classification { id status } ... on Problem { message }
  }
}`

export const IMAGES = `query Images($dataset: ID!, $first: Int!, $after: String) {
  images(filter: { datasetId: $dataset }, first: $first, after: $after) {
    edges { cursor node { id filename latestResult { id label confidence } } }
    pageInfo { hasNextPage endCursor }
  }
}`

export const WATCH = `subscription Watch($id: ID!, $after: String) {
  classificationUpdated(id: $id, after: $after) {
    cursor
    classification { id status }
    items { id status result { id label } }
  }
}`

export const PICTURES = 24
export const PAGE = 10

const ENDED = ['SUCCEEDED', 'FAILED', 'CANCELLED']

// Signs in, takes the steps that a client makes possible, and ends the process: with 0 if all came out right.
export async function journey(client, makeSteps) {
  try {
    await travel((line) => console.log(`${client}: ${line}`), client, makeSteps)
    process.exit(0)
  } catch (error) {
    console.error(`${client}: ${error.message}`)
    process.exit(1)
  }
}

async function travel(say, client, makeSteps) {
  const { LOGIN, PASSWORD } = process.env
  if (!LOGIN || !PASSWORD) throw new Error('Set LOGIN and PASSWORD; URL if it is not this machine at port 8000.')

  const session = await Session.signIn(LOGIN, PASSWORD)
  await session.renew()
  say('signed in, and renewed the session')

  const steps = await makeSteps(session)
  const dataset = right(await steps.create(`${client} ${new Date().toISOString()}`), 'Dataset')
  const report = right(await steps.upload(dataset.id, pictures()), 'UploadReport')
  report.files.forEach((file) => right(file, 'UploadedImage'))
  say(`uploaded ${report.files.length} pictures`)

  const run = right(await steps.run(dataset.id), 'Classification')
  const told = await watched(steps, run.id)
  say(`watched ${new Set(told).size} of ${PICTURES} pictures to the end, over ${steps.connections()} connections`)
  expect(new Set(told).size === PICTURES, 'a cut loses nothing')
  expect(told.length === PICTURES, 'what was told before a cut is not told again')
  expect(steps.connections() === 2, 'there was a cut, and the second connection lasted')

  const names = await steps.pages(dataset.id)
  say(`read ${names.length} pictures in pages of ${PAGE}`)
  expect(new Set(names).size === PICTURES, 'every picture is on one page')

  await steps.more?.(dataset.id, say)
  await steps.end?.()
  say('done')
}

// The names on all pages; `page` asks for the one after a cursor.
export async function filenames(page) {
  const names = []
  for (let after = null; ;) {
    const { edges, pageInfo } = await page(after)
    names.push(...edges.map(({ node }) => node.filename))
    if (!pageInfo.hasNextPage) return names
    after = pageInfo.endCursor
  }
}

// The items that were told to have ended, in that order. After the first update the network breaks once.
async function watched(steps, id) {
  const told = []
  let isCut = false
  for await (const { items } of steps.watch(id)) {
    for (const item of items) if (ENDED.includes(item.status)) told.push(item.id)
    if (!isCut) steps.cut()
    isCut = true
  }
  return told
}

// The answer, if it is what was asked for; every answer of a mutation may be a Problem instead.
function right(answer, type) {
  if (answer.__typename !== type) throw new Error(`${answer.__typename}: ${answer.message}`)
  return answer
}

function expect(held, sentence) {
  if (!held) throw new Error(`It should be so, and was not: ${sentence}.`)
}

// Small BMPs of noise. Each is another one: a dataset takes the same bytes once.
function pictures() {
  return Array.from({ length: PICTURES }, (_, number) => new File([bitmap(64)], `smear-${number}.bmp`))
}

function bitmap(side) {
  const file = new DataView(new ArrayBuffer(54 + side * side * 3))
  file.setUint16(0, 0x424d)
  const fields = [[2, file.byteLength], [10, 54], [14, 40], [18, side], [22, side], [26, 1 | (24 << 16)]]
  for (const [offset, value] of fields) file.setUint32(offset, value, true)
  crypto.getRandomValues(new Uint8Array(file.buffer, 54))
  return file.buffer
}
