// The system's page is the server's to write: it is fetched again often, and when the broker comes or goes.
import { start, status } from "./live.js";
import { keepNew } from "./renew.js";

const turn = keepNew(() => location.href, 10000);
let feedUp = status.feedUp;
start(() => {
  if (status.feedUp !== feedUp) turn();
  feedUp = status.feedUp;
});
