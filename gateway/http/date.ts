let dateAt = 0;
let dateText = '';
/** The Date header (RFC 9110, 6.6.1), made once a second. */
export function httpDate(): string {
  const now = Date.now();
  if (now - dateAt >= 1_000) {
    dateAt = now - (now % 1_000);
    dateText = new Date(dateAt).toUTCString();
  }
  return dateText;
}
