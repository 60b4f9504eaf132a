"""MQTT to latest values: the page, the API and the stream."""
