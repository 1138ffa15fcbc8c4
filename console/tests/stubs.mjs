// Answers requests of a page in place of the gateway.

// Answers the requests for a path with what `answer` returns: a body, and optionally a status. `answer` gets the query
// and the body of the request. Returns the list of these requests.
export async function stub(page, path, answer) {
  const requests = [];
  await page.route((url) => url.pathname === path, async (route) => {
    const request = route.request();
    const query = Object.fromEntries(new URL(request.url()).searchParams);
    const asked = { query, body: request.postData() && JSON.parse(request.postData()) };
    requests.push(asked);
    const { status = 200, ...json } = await answer(asked);
    await route.fulfill({ status, json }).catch(() => {});
  });
  return requests;
}

export const failure = (status, code, detail) => ({ status, error: { code, detail } });
