"""Sensor to MQTT: what runs on the node that has the sensor."""
