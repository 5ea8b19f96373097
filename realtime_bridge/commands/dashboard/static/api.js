// What the page asks for and does. Errors carry the dashboard's own words.

/** Read; returns what the answer's JSON says. */
export const get = (path) => answered(fetch(path))

/** Do something; returns what the answer says, or {question} where it must be asked first. */
export async function post(path, body = {}) {
  const request = fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  return answered(request, 409)
}

async function answered(request, question) {
  let response
  try {
    response = await request
  } catch {
    throw new Error('The dashboard does not answer. Does it still run?')
  }
  if (response.ok) return response.json()
  if (response.status === question) return { question: await response.json() }
  throw new Error((await response.text()).trim())
}
