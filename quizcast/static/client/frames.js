/** An event stream's bytes as frames. */

/**
 * Each frame as it is complete. Comments, and fields that nobody knows, are passed over.
 * @param {ReadableStream<Uint8Array>} body
 * @param {() => void} heard called for every piece that comes, whatever is in it
 * @returns {AsyncGenerator<{ name: string, id: string | null, data: string, retryMs: number | null }>}
 */
export async function* frames(body, heard) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let frame = { name: "message", id: null, data: "", retryMs: null };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const ended of lines) {
      const line = ended.endsWith("\r") ? ended.slice(0, -1) : ended;
      if (line === "") {
        if (frame.data) yield frame;
        frame = { name: "message", id: null, data: "", retryMs: null };
        continue;
      }
      const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "event") frame.name = text;
      else if (field === "id") frame.id = text;
      else if (field === "data") frame.data += (frame.data && "\n") + text;
      else if (field === "retry" && /^\d+$/.test(text)) frame.retryMs = Number(text);
    }
  }
}
