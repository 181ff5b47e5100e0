// Errors, web vitals and sessions of our pages go to Grafana Faro's collector, where the installation has one.
const settings = document.querySelector('meta[name="faro"]');
const { initializeFaro, getWebInstrumentations } = window.GrafanaFaroWebSdk;

initializeFaro({
  url: settings.content,
  app: { name: 'lyceum-web', version: settings.dataset.version },
  instrumentations: getWebInstrumentations({ captureConsole: false }),
});
