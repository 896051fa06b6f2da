// The npm client drops `time`, `key` and `removed` of a publication, and does not say when it will try again. Two methods that it
// keeps to itself are widened for that; tests/js/client-class.test.js fails when an update of the package renames them.

export const widen = (Centrifuge) =>
  class WirelogClient extends Centrifuge {
    _getPublicationContext(channel, publication) {
      const context = super._getPublicationContext(channel, publication);
      context.time = publication.time;
      context.key = publication.key;
      context.removed = publication.removed;
      return context;
    }

    _getReconnectDelay() {
      const delay = super._getReconnectDelay();
      this.emit("retry", { delay });
      return delay;
    }
  };
