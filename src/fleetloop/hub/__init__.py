"""The meeting place: experience in, releases out. service.py is the logic, http.py its face."""
