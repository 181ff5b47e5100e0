// The two pages that mails lead to. The token is behind "#": the browser keeps it to itself until the form is sent.
const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? '';
const form = document.querySelector('form');
const status = document.querySelector('[role="status"]');

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const button = form.querySelector('button');
  button.disabled = true;
  status.textContent = '';
  const reply = await fetch(form.dataset.call, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, ...Object.fromEntries(new FormData(form)) }),
  }).catch(() => undefined);
  if (reply?.ok) {
    history.replaceState(null, '', location.pathname);
    form.remove();
    status.textContent = form.dataset.done;
    return;
  }
  const problem = await reply?.json().catch(() => undefined);
  status.textContent =
    problem?.errors?.[0]?.message ?? problem?.detail ?? 'There is no answer. Please try again.';
  button.disabled = false;
});
